"""The guide to the remote client leads to a service in another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import documentation
from tests.factories import make_learners
from tests.over_http.callers import make_host
from tests.over_http.service_process import ServiceProcess

PAGE = "docs/how-to/use-a-remote-client.md"
ADDRESS, TOKEN_FILE = "https://lms.example.org/state/", "/run/secrets/state-token"


@pytest.mark.django_db(transaction=True)
def test_the_guide_leads_to_a_state(service: ServiceProcess, tmp_path: Path) -> None:
    make_learners("ada")
    file = tmp_path / "token"
    file.write_text(f"{make_host()}\n")
    page = [each for each in documentation.examples_on(documentation.ROOT / PAGE) if each.kind == "remote"]
    here = [
        each._replace(text=each.text.replace(ADDRESS, service.address).replace(TOKEN_FILE, str(file))) for each in page
    ]
    names = documentation.run(here)
    names["client"].close()
    assert names["states"] == {"ada": {"answer": "B"}}

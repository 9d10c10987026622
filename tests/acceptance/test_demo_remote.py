"""``make demo-remote``: a host whose learners' state is behind a service over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from playwright.sync_api import Browser, expect

from tests.acceptance.browsing import Visitor
from tests.acceptance.demo_server import RemoteDemo

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="what the browser sees is the same on each database"),
]

COURSE = {"DEMO_COURSE": str(Path(__file__).parent / "courses" / "acid.xml")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[RemoteDemo]:
    with RemoteDemo(tmp_path_factory.mktemp("remote"), {**COURSE, "DATABASE_URL": database_url}) as server:
        yield server


def test_acid_passes_over_http(browser: Browser, server: RemoteDemo) -> None:
    ada = Visitor(browser, server, "ada")
    ada.open("/units/acid/")
    alone = ada.block("alone")
    expect(alone.locator("i.pass")).to_have_count(37)
    expect(alone.locator("i:not(.pass)")).to_have_count(0)
    assert ada.errors == []
    # The log of the service has each call with its actor.
    calls = [line for line in server.log.splitlines() if "actor='ada'" in line]
    assert any("act=write" in line for line in calls)

"""``make demo-import``: the demo's accounts have taken the course on an old site, which is imported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from django.db import connection
from playwright.sync_api import Browser, expect

from tests.acceptance.browsing import TORCH, Visitor
from tests.acceptance.demo_server import DemoServer
from tests.documentation import ROOT

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="both databases of this demo are on SQLite")

ON_SQLITE = {"DATABASE_URL": "", "HISTORY_DATABASE_URL": "", "DEMO_OLD_SITE": "1"}
RECIPE = (ROOT / "Makefile").read_text().partition("\ndemo-import:  ##")[2].partition("\n\n")[0]


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """A folder of the demo after the commands of the target."""
    settings = {"DEMO_VAR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "tests.acceptance.demo_settings"}
    environment = {**os.environ, **ON_SQLITE, **settings}
    for command in re.findall(r"-m (django .*)", RECIPE):
        arguments = command.replace(" --settings demo.settings", "").replace("demo/var", str(tmp_path)).split()
        command_line = [sys.executable, "-W", "ignore", "-m", *arguments]
        subprocess.run(command_line, cwd=ROOT, env=environment, check=True)
    return tmp_path


def test_the_report_names_the_odd_rows(imported: Path) -> None:
    lines = [json.loads(line) for line in (imported / "import.jsonl").read_text().splitlines()]
    assert Counter(line["reason"] for line in lines) == {
        "broken_state": 1,
        "history_without_module": 1,
        "no_user": 1,
        "two_rows": 1,
        "white_space": 1,
    }


@pytest.mark.browser
def test_staff_see_the_history_of_the_old_site(browser: Browser, imported: Path) -> None:
    with DemoServer(imported, ON_SQLITE) as server:
        staff = Visitor(browser, server, "staff")
        entries = staff.open_history("ada", TORCH)
        expect(entries).to_have_count(5)
        expect(entries.first).to_contain_text("Fri, Nov. 5, 2021, 20:43:51 CET (19:43:51 UTC)")
        expect(entries.first.locator(".xus-changes")).to_contain_text(
            re.compile(r'"choice_0".*→.*"choice_2"', re.DOTALL)
        )
        ben = Visitor(browser, server, "ben")
        ben.open("/units/eyes/")
        expect(ben.block("torch").get_by_role("radio", checked=True)).to_have_accessible_name("A dim red torch")
        assert ben.errors == []

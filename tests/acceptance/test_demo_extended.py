"""``make demo-extended`` keeps the history in a second SQLite file, and the staff pages say so."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from django.db import connection
from playwright.sync_api import Browser

from tests.acceptance.browsing import TORCH, Visitor
from tests.acceptance.demo_server import DemoServer
from tests.documentation import ROOT

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="both databases of this demo are on SQLite"),
]

EXTENDED_TABLE = "xblock_user_state_extended_history_studentmodulehistoryextended"
# Replaces the variables that the tests themselves were started with.
ON_SQLITE = {"DATABASE_URL": "", "HISTORY_DATABASE_URL": ""}


def answer_torch(browser: Browser, server: DemoServer, choice: str, result: str) -> None:
    ada = Visitor(browser, server, "ada")
    ada.open("/units/eyes/")
    ada.choose("torch", choice, result)
    assert ada.errors == []


def count(file: Path, table: str) -> int:
    connected = sqlite3.connect(file)
    [(found,)] = connected.execute(f"SELECT COUNT(*) FROM {table}")  # noqa: S608 (the tables of this test)
    connected.close()
    return int(found)


def seen_by_staff(browser: Browser, server: DemoServer) -> tuple[str, list[str], str]:
    """Return the place of the block's history, the place of each entry, and the site's flags, as staff see them."""
    staff = Visitor(browser, server, "staff")
    staff.open(f"/staff/learners/ada/{TORCH}/")
    of_the_block = staff.page.locator("dl.facts").inner_text()
    of_the_entries = staff.page.locator(".timeline > li header .tag").all_inner_texts()
    staff.open("/staff/")
    return of_the_block, of_the_entries, staff.page.locator("dl.facts").inner_text()


def test_history_goes_to_a_second_file_and_all_of_it_is_shown(browser: Browser, tmp_path: Path) -> None:
    with DemoServer(tmp_path, ON_SQLITE) as server:
        answer_torch(browser, server, "A bright white head torch", "Incorrect (0/1 point)")
        block, entries, site = seen_by_staff(browser, server)
    assert "the default history (2)" in block
    assert entries == ["default history"] * 2
    assert "the default history, beside the state" in site
    assert not (tmp_path / "demo.history.sqlite3").exists()

    with DemoServer(tmp_path, {**ON_SQLITE, "DEMO_EXTENDED_HISTORY": "1"}) as server:
        assert "in a separate database" in server.log
        answer_torch(browser, server, "A dim red torch", "Correct (1/1 point)")
        block, entries, site = seen_by_staff(browser, server)
    assert "the default history (2), the extended history (1)" in block
    assert entries == ["extended history", "default history", "default history"]
    assert f"in a separate database: {tmp_path}/demo.history.sqlite3" in site
    assert "0 entries" in site
    assert count(tmp_path / "demo.history.sqlite3", EXTENDED_TABLE) == 1

    # Entries there stay readable when no new ones go there.
    with DemoServer(tmp_path, ON_SQLITE) as server:
        _, shown, site = seen_by_staff(browser, server)
    assert shown == entries
    assert "the default history, beside the state" in site


def test_the_target_of_make_turns_it_on() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "\ndemo-extended: export DEMO_EXTENDED_HISTORY = 1\n" in makefile

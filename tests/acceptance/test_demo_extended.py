"""``make demo-extended`` keeps the history in a second SQLite file, and the console shows all of it."""

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


def seen_by_staff(browser: Browser, server: DemoServer) -> tuple[int, dict[str, str]]:
    """Return the number of revisions of the block, and the rows of each table, as staff see them."""
    staff = Visitor(browser, server, "staff")
    revisions = staff.open_history("ada", TORCH).count()
    staff.open("/console/health/")
    rows = staff.page.get_by_role("region", name="Rows").locator("tbody tr").all()
    cells = [row.locator("th, td").all_inner_texts() for row in rows]
    return revisions, {name: count for name, count, *_ in cells}


def test_history_goes_to_a_second_file_and_all_of_it_is_shown(browser: Browser, tmp_path: Path) -> None:
    with DemoServer(tmp_path, ON_SQLITE) as server:
        assert "default history, beside the state" in server.log
        answer_torch(browser, server, "A bright white head torch", "Incorrect (0/1 point)")
        # The unit has two problems. Looking at it saves the seed of each.
        assert seen_by_staff(browser, server) == (2, {"states": "2", "default history": "3"})
    assert not (tmp_path / "demo.history.sqlite3").exists()

    with DemoServer(tmp_path, {**ON_SQLITE, "DEMO_EXTENDED_HISTORY": "1"}) as server:
        assert f"in a separate database: {tmp_path}/demo.history.sqlite3" in server.log
        answer_torch(browser, server, "A dim red torch", "Correct (1/1 point)")
        seen = seen_by_staff(browser, server)
        assert seen == (3, {"states": "2", "extended history": "1", "default history": "3"})

    # Entries there stay readable when no new ones go there.
    with DemoServer(tmp_path, ON_SQLITE) as server:
        assert "default history, beside the state" in server.log
        assert seen_by_staff(browser, server) == seen
    assert count(tmp_path / "demo.history.sqlite3", EXTENDED_TABLE) == 1


def test_the_target_of_make_turns_it_on() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "\ndemo-extended: export DEMO_EXTENDED_HISTORY = 1\n" in makefile

"""The stock workbench of xblock-sdk runs on our store by settings alone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.server_process import ServerProcess

ROOT = Path(__file__).parent.parent.parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workbench's working directory; it needs a folder ``var``."""
    made = tmp_path_factory.mktemp("workbench")
    (made / "var").mkdir()
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.compatibility.workbench_settings",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "WORKBENCH_DATABASE": str(folder / "workbench.sqlite3"),
    }
    # The workbench is published without migrations for its app.
    migrate = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity=0"]
    subprocess.run(migrate, cwd=folder, env=environment, check=True)
    arguments = ["-m", "django", "runserver", "--noreload", "127.0.0.1:{port}"]
    with ServerProcess(arguments, folder, environment, folder / "server.log", "/") as server:
        yield server


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield chromium
        chromium.close()


def open_scenario(browser: Browser, server: ServerProcess, scenario: str, student: str) -> Page:
    page = browser.new_context().new_page()
    page.goto(f"{server.url}/scenario/{scenario}/?student={student}")
    return page


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "workbench.sqlite3")) as database:
        return database.execute(sql).fetchall()


def stored_acid_states(folder: Path, table: str) -> set[tuple[object, ...]]:
    """Return the username, block type and key kind of each acid state in one of the tables keyed by block.

    The username is ``None`` where learners share the state.
    """
    sql = """
        SELECT {who}, block.block_type, substr(block.usage_key, 1, instr(block.usage_key, ':') - 1)
        FROM {table} state JOIN xblock_user_state_block block ON block.id = state.block_id
        WHERE block.usage_key LIKE '%xblock-acid-single%.acid.%'
    """
    name = "(SELECT username FROM auth_user WHERE id = state.student_id)"
    return set(rows(folder, sql.format(table=table, who=name if table.endswith("studentmodule") else "NULL")))


@pytest.fixture(scope="module")
def acid(browser: Browser, server: ServerProcess) -> Page:
    page = open_scenario(browser, server, "acid.0", "ada")
    # The vertical around acid has an aside that never finds acid's DOM, with every store.
    expect(page.locator("i.unknown")).to_have_count(1, timeout=60_000)
    return page


def test_acid_is_content_with_all_scopes_of_blocks_and_asides(acid: Page) -> None:
    results = acid.locator("[data-usage^='xblock-acid-single-block-test.acid.d0.u0'] i")
    outcomes = results.evaluate_all("found => found.map(one => one.className.split(' ').pop())")
    assert outcomes == ["pass"] * 37
    expect(acid.locator("i.fail")).to_have_count(0)


@pytest.mark.usefixtures("acid")
def test_what_acid_kept_is_in_our_tables_and_not_in_the_workbenchs(folder: Path) -> None:
    kinds = ("block-v1", "aside-usage-v2")
    assert stored_acid_states(folder, "xblock_user_state_studentmodule") == {("ada", "acid", kind) for kind in kinds}
    assert stored_acid_states(folder, "xblock_user_state_userstatesummary") == {(None, "acid", kind) for kind in kinds}
    types = {name for [name] in rows(folder, "SELECT block_type FROM xblock_user_state_preferences")}
    assert types == {"acid", "block-type-v1:xblock_asides.v1:acid_aside"}
    names = "SELECT username FROM auth_user JOIN xblock_user_state_userinfo ON student_id = id"
    assert ("ada",) in rows(folder, names)
    assert rows(folder, "SELECT 1 FROM workbench_xblockstate WHERE user_id IS NOT NULL") == []


def test_votes_outlive_the_workbench(browser: Browser, server: ServerProcess, folder: Path) -> None:
    for number, student in enumerate(("ben", "chen"), start=1):
        page = open_scenario(browser, server, "thumbs.0", student)
        page.locator(".upvote").first.click()
        expect(page.locator(".upvote .count").first).to_have_text(str(number))
    server.kill()
    server.start()
    page = open_scenario(browser, server, "thumbs.0", "dan")
    expect(page.locator(".upvote .count").first).to_have_text("2")
    voted = """
        SELECT username FROM auth_user JOIN xblock_user_state_studentmodule ON student_id = id
        WHERE state = '{"voted":true}'
    """
    assert sorted(rows(folder, voted)) == [("ben",), ("chen",)]

"""The acid block tests the host that shows it: fields of all four learner scopes, of blocks and of asides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.browsing import Visitor
from tests.acceptance.demo_server import DemoServer
from tests.acceptance.forgetful import DROPPED

pytestmark = pytest.mark.browser

COURSE = {"DEMO_COURSE": str(Path(__file__).parent / "courses" / "acid.xml")}
MUTANT = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.forgetful_settings"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[DemoServer]:
    with DemoServer(tmp_path_factory.mktemp("acid"), {**COURSE, "DATABASE_URL": database_url}) as server:
        yield server


@pytest.fixture(scope="module")
def forgetful_server(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[DemoServer]:
    """A server with the mutant, on the same database: acid writes new values at each view."""
    environment = {**COURSE, **MUTANT, "DATABASE_URL": database_url}
    with DemoServer(tmp_path_factory.mktemp("mutant"), environment) as mutant:
        yield mutant


def test_all_of_acid_passes(browser: Browser, server: DemoServer) -> None:
    ada = Visitor(browser, server, "ada")
    ada.open("/units/acid/")
    alone, parent = ada.block("alone"), ada.block("parent")
    expect(alone.locator("i.pass")).to_have_count(37)
    expect(alone.locator("i:not(.pass)")).to_have_count(0)
    expect(parent.locator("i.pass")).to_have_count(112)
    # acid counts its parent block as one of its children, and then misses it in its script, on every host.
    missed = parent.locator("i:not(.pass)")
    expect(missed).to_have_class([re.compile(r"\bfail\b")])
    assert missed.evaluate("node => node.closest('[data-usage]').dataset.usage") == (
        "aside-usage-v2:block-v1$:Starfield+ACID+2026+type@acid_parent+block@parent::acid_aside"
    )
    assert ada.errors == []


@pytest.mark.parametrize(("username", "scope"), [(name, scope.name) for name, scope in DROPPED.items()])
def test_acid_fails_in_the_scope_that_a_store_drops_and_in_no_other(
    browser: Browser, forgetful_server: DemoServer, username: str, scope: str
) -> None:
    visitor = Visitor(browser, forgetful_server, username)
    visitor.open("/units/one/")
    # The block and its aside each have a row of each scope. After a failure, acid skips the rest of that row.
    rows = visitor.page.locator(".scope-storage-test")
    passed = rows.filter(has=visitor.page.locator(".client-storage-test-succeeded i.pass"))
    failed = rows.filter(has=visitor.page.locator(".server-storage-test-succeeded i.fail"))
    expect(passed).to_have_count(6)
    expect(failed).to_have_count(2)
    assert failed.evaluate_all("rows => rows.map(row => row.dataset.scope)") == [scope, scope]

"""acid, which tests the host that shows it: fields of all four learner scopes, of blocks and of asides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.browsing import Visitor
from tests.acceptance.demo_server import DemoServer

pytestmark = pytest.mark.browser

COURSE = {"DEMO_COURSE": str(Path(__file__).parent / "courses" / "acid.xml")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[DemoServer]:
    with DemoServer(tmp_path_factory.mktemp("acid"), {**COURSE, "DATABASE_URL": database_url}) as server:
        yield server


def test_all_of_acid_passes(browser: Browser, server: DemoServer) -> None:
    ada = Visitor(browser, server, "ada")
    ada.open("/units/acid/")
    alone, parent = ada.block("alone"), ada.block("parent")
    expect(alone.locator("i.pass")).to_have_count(37)
    expect(alone.locator("i:not(.pass)")).to_have_count(0)
    expect(parent.locator("i.pass")).to_have_count(112)
    # acid counts its parent block as one of its own, and then misses it in its own script: whatever the host.
    missed = parent.locator("i:not(.pass)")
    expect(missed).to_have_class([re.compile(r"\bfail\b")])
    assert missed.evaluate("node => node.closest('[data-usage]').dataset.usage") == (
        "aside-usage-v2:block-v1$:Starfield+ACID+2026+type@acid_parent+block@parent::acid_aside"
    )
    assert ada.errors == []

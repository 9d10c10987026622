"""The console in a browser, as staff use it in the demo: found, read, compared, and free of barriers."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connection
from playwright.sync_api import Browser, ViewportSize, expect

from tests.acceptance.browsing import COURSE, TORCH, Visitor
from tests.acceptance.demo_server import DemoServer

pytestmark = pytest.mark.browser

SIZES = (ViewportSize(width=320, height=640), ViewportSize(width=1200, height=900))
HISTORY = f"/console/learners/ben/{COURSE}/{TORCH}/"
PAGES = (
    "/console/",
    f"/console/?course={quote(COURSE)}",
    "/console/health/",
    "/console/learners/ben/",
    f"/console/learners/ben/{COURSE}/",
    HISTORY,
    f"{HISTORY}compare/?old=1&new=3",
    f"/console/courses/{COURSE}/",
    f"/console/blocks/{COURSE}/{TORCH}/",
)


def test_staff_find_read_and_compare(browser: Browser, server: DemoServer) -> None:
    ada = Visitor(browser, server, "ada")
    ada.open("/units/eyes/")
    ada.choose("torch", "A bright white head torch", "Incorrect (0/1 point)")
    ada.choose("torch", "A dim red torch", "Correct (1/1 point)")
    assert ada.open("/console/") == 403

    staff = Visitor(browser, server, "staff")
    staff.open("/console/")
    # With JavaScript the list follows the typing.
    staff.page.get_by_label("Name, username or e-mail").press_sequentially("lindqvist")
    expect(staff.page.get_by_role("row")).to_have_count(2)
    expect(staff.page).to_have_url(re.compile("q=lindqvist"))
    staff.page.get_by_role("link", name="Ada Lindqvist").click()
    staff.page.get_by_role("link", name=COURSE).click()
    staff.page.get_by_role("link", name="A light to read the map by").click()
    newest = staff.page.get_by_role("article").first
    expect(newest).to_contain_text("Revision 3")
    expect(newest).to_contain_text("Score 1 / 1")
    expect(newest).to_contain_text("by ada")
    expect(newest).to_contain_text("A dim red torch")
    staff.page.get_by_label("Compare revision").fill("1")
    staff.page.get_by_role("button", name="Compare").press("Enter")
    expect(staff.page.get_by_role("heading", level=1)).to_have_text("Revision 1 compared with 3")
    expect(staff.page.locator("ins").filter(has_text="choice_2").first).to_be_visible()
    assert staff.errors == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the pages are the same on every database")
def test_the_pages_have_no_barriers(browser: Browser, server: DemoServer) -> None:
    ben = Visitor(browser, server, "ben")
    ben.open("/units/eyes/")
    ben.choose("torch", "A bright white head torch", "Incorrect")
    ben.choose("torch", "A dim red torch", "Correct")
    staff = Visitor(browser, server, "staff")
    axe = Axe()
    for size in SIZES:
        staff.page.set_viewport_size(size)
        for path in PAGES:
            assert staff.open(path) == 200
            assert staff.page.evaluate("document.documentElement.scrollWidth") == size["width"], path
            found = axe.run(staff.page).response["violations"]
            assert [(path, one["id"], one["nodes"]) for one in found] == []


def test_the_console_works_without_javascript(browser: Browser, server: DemoServer) -> None:
    staff = Visitor(browser, server, "staff")
    context = browser.new_context(java_script_enabled=False, storage_state=staff.page.context.storage_state())
    page = context.new_page()
    page.goto(f"{server.url}/console/")
    page.get_by_label("Name, username or e-mail").fill("lindqvist")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("row")).to_have_count(2)

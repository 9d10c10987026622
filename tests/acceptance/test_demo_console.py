"""The console in a browser, as staff use it in the demo: found, read, compared, put right, and free of barriers."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.acceptance.browsing import COURSE, SAME_PAGES, TORCH, Visitor
from tests.acceptance.demo_server import DemoServer

Scheme = Literal["dark", "light"]

pytestmark = pytest.mark.browser

SIZES: dict[Scheme, ViewportSize] = {
    "dark": ViewportSize(width=320, height=640),
    "light": ViewportSize(width=1200, height=900),
}
HISTORY = f"/console/learners/ben/{COURSE}/{TORCH}/"
OF_COURSE, OF_BLOCK = f"/console/courses/{COURSE}/", f"/console/blocks/{COURSE}/{TORCH}/"
OF_BEN = "/console/learners/ben/"
READING = (
    "/console/",
    f"/console/?course={quote(COURSE)}",
    "/console/health/",
    OF_BEN,
    f"{OF_BEN}{COURSE}/",
    HISTORY,
    f"{HISTORY}compare/?old=1&new=3",
    OF_COURSE,
    OF_BLOCK,
)
ACTING = (
    f"{HISTORY}act/override_score/",
    f"{HISTORY}act/move_state/",
    f"{OF_BEN}{COURSE}/act/restore/",
    f"{OF_BLOCK}act/rescore/",
    f"{OF_BEN}export/",
    f"{OF_BEN}erase/",
    "/console/actions/",
)
OTHERS = (
    f"{HISTORY}act/restore/",
    f"{OF_COURSE}act/reset_attempts/",
    f"{OF_BLOCK}responses.csv",
    f"{OF_BLOCK}act/move_state/",
    "/console/actions/00000000-0000-4000-8000-000000000000/",
    "/console/actions/00000000-0000-4000-8000-000000000000/undo/",
)
"""Pages that only the test of refusals opens."""


def test_staff_find_read_and_compare(browser: Browser, server: DemoServer) -> None:
    answer_twice(browser, server, "ada")
    staff = Visitor(browser, server, "staff")
    page = staff.page
    staff.open("/console/")
    # With JavaScript the list follows the typing.
    page.get_by_label("Name, username or e-mail").press_sequentially("lindqvist")
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page).to_have_url(re.compile("q=lindqvist"))
    page.get_by_role("link", name="Ada Lindqvist").click()
    page.get_by_role("link", name=COURSE).click()
    page.get_by_role("link", name="A light to read the map by").click()
    newest = page.get_by_role("article").first
    expect(newest).to_contain_text("Revision 3")
    expect(newest).to_contain_text("Score 1 / 1")
    expect(newest).to_contain_text("by ada")
    expect(newest).to_contain_text("A dim red torch")
    page.get_by_label("Compare revision").fill("1")
    page.get_by_role("button", name="Compare").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Revision 1 compared with 3")
    expect(page.locator("ins").filter(has_text="choice_2").first).to_be_visible()
    assert staff.errors == []


def test_staff_put_a_state_right(browser: Browser, server: DemoServer) -> None:
    chen = answer_twice(browser, server, "chen")
    staff = Visitor(browser, server, "staff")
    page, newest = staff.page, staff.page.get_by_role("article").first
    staff.open(HISTORY.replace("ben", "chen"))
    act(page, "Restore revision 2", "his first answer was meant", "choice_0")
    page.get_by_role("link", name="Back", exact=True).click()
    expect(newest).to_contain_text("Restore: his first answer was meant")
    expect(newest).to_contain_text("Score 0 / 1")
    expect(newest).to_contain_text("A bright white head torch")
    act(page, "Reset attempts", "the picture was missing", "attempts before: 1 → after: 0")
    page.get_by_role("link", name="See it in the action log").click()
    act(page, "Undo this action", "the wrong problem", "attempts before: 0 → after: 1")

    # The host scores the restored answer anew.
    staff.open(HISTORY.replace("ben", "chen"))
    page.get_by_role("link", name="Set the score").click()
    page.get_by_label("Points", exact=True).fill("1")
    page.get_by_label("Of possible points").fill("1")
    confirm(page, "half an answer", "0 / 1 → 1 / 1")
    page.get_by_role("link", name="Back", exact=True).click()
    act(page, "Rescore", "no half answers", "scored anew")
    page.get_by_role("link", name="Back", exact=True).click()
    expect(newest).to_contain_text(re.compile("Revision 8.*Score 0 / 1.*Rescore: no half answers", re.DOTALL))
    chen.open("/units/eyes/")
    expect(chen.block("torch")).to_contain_text("0/1 point")
    assert staff.errors == []


def answer_twice(browser: Browser, server: DemoServer, username: str) -> Visitor:
    """Let a learner give a wrong and the right answer, in three revisions."""
    learner = Visitor(browser, server, username)
    learner.open("/units/eyes/")
    learner.choose("torch", "A bright white head torch", "Incorrect (0/1 point)")
    learner.choose("torch", "A dim red torch", "Correct (1/1 point)")
    return learner


def act(page: Page, link: str, reason: str, seen: str) -> None:
    """Follow the link to an action, and go the way to its end."""
    page.get_by_role("link", name=link, exact=True).click()
    confirm(page, reason, seen)


def confirm(page: Page, reason: str, seen: str) -> None:
    """Give the reason, look at the preview, and confirm it."""
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("main")).to_contain_text("Nothing has changed yet")
    expect(page.get_by_role("region", name="Changes")).to_contain_text(seen)
    page.get_by_role("button", name="Confirm").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Done")


def test_a_learner_is_refused_everywhere(browser: Browser, server: DemoServer) -> None:
    ben = Visitor(browser, server, "ben")
    ben.open("/")
    found = ben.page.evaluate(
        """async paths => {
            const csrf = document.cookie.match(/csrftoken=([^;]*)/)[1]
            const found = []
            for (const path of paths) {
                const headers = {"X-CSRFToken": csrf}, body = new URLSearchParams({reason: "mine", who: "all"})
                const answers = [await fetch(path), await fetch(path, {method: "POST", headers, body})]
                found.push([path, ...answers.map(answer => answer.status)])
            }
            return found
        }""",
        [*READING, *ACTING, *OTHERS],
    )
    assert found == [[path, 403, 403] for path in (*READING, *ACTING, *OTHERS)]


@SAME_PAGES
def test_the_pages_have_no_barriers(browser: Browser, server: DemoServer) -> None:
    answer_twice(browser, server, "ben")
    staff = Visitor(browser, server, "staff")
    for path in READING:
        assert staff.open(path) == 200
        has_no_barriers(staff.page)
    # The pages that act share their styles with these. On a phone in the dark most goes wrong, so one look is enough.
    for path in ACTING:
        assert staff.open(path) == 200
        has_no_barriers(staff.page, "dark")
    # What is behind the forms: errors, a preview with values, the result, the log, and the way back.
    page = staff.page
    staff.open(f"{OF_BLOCK}act/rescore/")
    page.get_by_label("Reason").fill("the answer was wrong")
    page.get_by_role("button", name="Preview").click()
    has_no_barriers(page, "dark")
    staff.open(f"{HISTORY}act/delete_state/")
    page.get_by_label("Reason").fill("he wants to start again")
    page.get_by_role("button", name="Preview").click()
    has_no_barriers(page, "dark")
    page.get_by_role("button", name="Confirm").click()
    has_no_barriers(page, "dark")
    page.get_by_role("link", name="See it in the action log").click()
    has_no_barriers(page, "dark")
    page.get_by_role("link", name="Undo this action").click()
    has_no_barriers(page, "dark")


def has_no_barriers(page: Page, *schemes: Scheme) -> None:
    """Check the page with axe: on a phone in the dark and on a desk in the light, or in one of the two."""
    axe = Axe()
    for scheme in schemes or SIZES:
        size = SIZES[scheme]
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"], page.url
        found = axe.run(page).response["violations"]
        assert [(page.url, scheme, one["id"], one["nodes"]) for one in found] == []


def test_the_console_works_without_javascript(browser: Browser, server: DemoServer) -> None:
    staff = Visitor(browser, server, "staff")
    context = browser.new_context(java_script_enabled=False, storage_state=staff.page.context.storage_state())
    page = context.new_page()
    page.goto(f"{server.url}/console/")
    page.get_by_label("Name, username or e-mail").fill("lindqvist")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("row")).to_have_count(2)

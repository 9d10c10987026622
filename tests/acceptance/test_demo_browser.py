"""The demo in a browser: learners answer, the server is killed and started again, staff look back."""

from __future__ import annotations

import csv
import io
import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.browsing import COURSE, KEY, SAME_PAGES, TORCH, Visitor
from tests.acceptance.demo_server import DemoServer

pytestmark = pytest.mark.browser

MONTH = KEY.format("problem", "month")


def vote(visitor: Visitor, choice: str) -> None:
    visitor.open("/units/darkness/")
    poll = visitor.block("home-sky")
    poll.get_by_text(choice).click()
    poll.get_by_role("button", name="Submit").click()
    expect(poll).to_contain_text("Results gathered from")


def test_answers_outlive_the_server_and_staff_see_how_they_came_about(browser: Browser, server: DemoServer) -> None:
    ada = Visitor(browser, server, "ada")
    ada.open("/units/eyes/")
    ada.choose("torch", "A bright white head torch", "Incorrect (0/1 point)")
    ada.choose("torch", "A dim red torch", "Correct (1/1 point)")
    vote(ada, "Hundreds of stars")
    ben = Visitor(browser, server, "ben")
    ben.open("/units/eyes/")
    ben.choose("torch", "A dim blue torch", "Incorrect (0/1 point)")
    vote(ben, "The Milky Way")

    server.kill()
    server.start()

    # The login survives the restart.
    ada.open("/units/eyes/")
    expect(ada.block("torch").get_by_role("radio", checked=True)).to_have_accessible_name("A dim red torch")
    expect(ada.block("torch").locator(".problem-progress")).to_contain_text("1/1 point")
    ada.open("/units/darkness/")
    expect(ada.block("home-sky")).to_contain_text("Results gathered from 2 respondents")
    ada.open("/")
    expect(ada.page.get_by_role("listitem").filter(has_text="A light to read the map by").last).to_contain_text("1 / 1")
    assert ada.errors == ben.errors == []

    staff = Visitor(browser, server, "staff")
    see_history(staff)
    see_responses(staff)


def see_history(staff: Visitor) -> None:
    entries = staff.open_history("ada", TORCH)
    expect(entries).to_have_count(3)
    expect(entries.nth(0)).to_contain_text("Revision 3")
    expect(entries.nth(0)).to_contain_text("Score 1 / 1")
    expect(entries.nth(0)).to_contain_text("by ada")
    expect(entries.nth(0).locator(".xus-changes")).to_contain_text(re.compile(r"attempts\s+before: 1\s+→\s+after: 2"))
    expect(entries.nth(0).locator(".xus-changes")).to_contain_text(re.compile(r'"choice_0".*→.*"choice_2"', re.DOTALL))
    expect(entries.nth(1)).to_contain_text("Score 0 / 1")
    expect(entries.nth(2)).not_to_contain_text("Score")


def see_responses(staff: Visitor) -> None:
    staff.open("/units/eyes/")
    staff.page.get_by_label("Responses of all learners").get_by_text("A light to read the map by").click()
    expect(staff.page.get_by_role("row").filter(has_text="ada")).to_contain_text("A dim red torch")
    expect(staff.page.get_by_role("row").filter(has_text="ben")).to_contain_text("A dim blue torch")
    with staff.page.expect_download() as download:
        staff.page.get_by_role("link", name="All responses as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig"))))
    words = {row["Learner"]: row["Answer in words"] for row in rows}
    assert "; Answer: A dim red torch" in words["ada"]
    assert "; Answer: A dim blue torch" in words["ben"]


@SAME_PAGES
def test_the_headings_of_a_unit_leave_out_no_level(browser: Browser, server: DemoServer) -> None:
    visitor = Visitor(browser, server)
    visitor.open("/")
    units = visitor.page.evaluate("[...document.querySelectorAll('.units h3 a')].map(found => found.pathname)")
    for path in units:
        visitor.open(path)
        found = visitor.page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(one => +one.tagName[1])")
        assert found[0] == 1
        assert [(path, up, down) for up, down in pairwise(found) if down > up + 1] == []


def test_crawlers_leave_no_trace(browser: Browser, server: DemoServer) -> None:
    crawler = Visitor(browser, server, "staff", user_agent="Mozilla/5.0 (compatible; Examplebot/1.0)")
    crawler.open("/units/eyes/")
    crawler.choose("torch", "A dim red torch", "Correct (1/1 point)")
    crawler.open(f"/console/learners/staff/{COURSE}/")
    expect(crawler.page.get_by_role("heading", name="Sam Ferreira")).to_be_visible()
    # Other tests look at the unit as staff, and a problem that is looked at has a state.
    row = crawler.page.get_by_role("row").filter(has_text="A light to read the map by")
    expect(row.filter(has_text="1 / 1")).to_have_count(0)
    stranger = browser.new_context(user_agent="Examplebot/1.0")
    stranger.new_page().goto(f"{server.url}/units/eyes/")
    # A visitor's state lives in the session, so there must be none.
    assert [cookie.get("name") for cookie in stranger.cookies()] == ["csrftoken"]


def test_staff_view_the_course_as_a_learner_and_change_nothing(browser: Browser, server: DemoServer) -> None:
    ben = Visitor(browser, server, "ben")
    ben.open("/units/phases/")
    ben.fill("month", "20", "Incorrect (0/1 point)")
    staff = Visitor(browser, server, "staff")
    revisions = staff.open_history("ben", MONTH).count()
    staff.page.get_by_role("button", name="View the course as Ben").click()
    banner = staff.page.get_by_role("region", name="Viewing as a learner")
    expect(banner).to_contain_text("as Ben Okafor does")
    for days in ("20", "29.5"):
        staff.open("/units/phases/")
        expect(staff.block("month").locator("input[type=text]")).to_have_value(days)
        staff.fill("month", "29.5", "Correct (1/1 point)")

    ben.open("/units/phases/")
    expect(ben.block("month").locator("input[type=text]")).to_have_value("20")
    banner.get_by_role("button", name="Stop").click()
    expect(staff.page.get_by_role("heading", name="Ben Okafor")).to_be_visible()
    expect(banner).to_have_count(0)
    assert staff.open_history("ben", MONTH).count() == revisions
    # The changes are gone with the session of the view.
    staff.page.get_by_role("button", name="View the course as Ben").click()
    staff.open("/units/phases/")
    expect(staff.block("month").locator("input[type=text]")).to_have_value("20")
    banner.get_by_role("button", name="Stop").click()
    assert staff.errors == ben.errors == []


@SAME_PAGES
def test_only_learners_are_viewed_as_and_by_staff_only(browser: Browser, server: DemoServer) -> None:
    post = """async path => (await fetch(path, {method: "POST"})).status"""
    for name, paths in (
        ("staff", {"/view-as/staff/": 404, "/view-as/nobody/": 404}),
        ("chen", {"/view-as/ada/": 403, "/stop-viewing/": 403}),
    ):
        visitor = Visitor(browser, server, name)
        # Not the torch's unit: another test relies on staff never having viewed that.
        visitor.open("/units/words/")
        assert {path: visitor.page.evaluate(post, path) for path in paths} == paths
        assert visitor.statuses([*paths]) == [405] * len(paths)


@SAME_PAGES
def test_learners_do_not_see_what_is_for_staff(browser: Browser, server: DemoServer) -> None:
    chen = Visitor(browser, server, "chen")
    # The console's own tests ask for each of its pages.
    assert chen.open("/console/") == 403
    expect(chen.page.get_by_role("heading")).to_have_text("This page is for staff")


@SAME_PAGES
def test_strangers_are_asked_to_log_in_before_they_see_what_is_for_staff(browser: Browser, server: DemoServer) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{server.url}/console/")
    assert urlsplit(page.url).path == "/login/"


def write_log(visitor: Visitor, night: str) -> None:
    visitor.open("/units/log/")
    visitor.block("first-night").locator("textarea").fill(night)
    visitor.block("first-night").get_by_role("button", name="Submit").click()
    expect(visitor.block("first-night")).to_contain_text("(1/1 point)")


def see_answered(visitor: Visitor) -> None:
    expect(visitor.block("polaris").locator("input[type=text]")).to_have_value("Polaris")
    expect(visitor.block("polaris").locator(".problem-progress")).to_contain_text("1/1 point")


def test_who_logs_in_finds_what_they_did_before(browser: Browser, server: DemoServer) -> None:
    # No other test opens these units with this account: a problem has state after its first view.
    write_log(Visitor(browser, server, "staff"), "From the account: clouds all over the sky.")

    visitor, other = Visitor(browser, server), Visitor(browser, server)
    write_log(visitor, "From the balcony: the Moon and Jupiter.")
    visitor.open("/units/north/")
    expect(visitor.page.locator(".visitor")).to_contain_text("You are not logged in")
    visitor.fill("polaris", "Polaris", "Correct (1/1 point)")
    visitor.open("/units/north/")
    see_answered(visitor)
    other.open("/")
    expect(other.page.locator(".progress")).to_contain_text("0 of")

    visitor.open("/units/north/")
    visitor.page.locator(".visitor").get_by_role("link", name="log in").click()
    visitor.log_in("staff")
    see_answered(visitor)
    expect(visitor.page.locator(".visitor")).to_have_count(0)
    visitor.open("/units/log/")
    expect(visitor.block("first-night").locator("textarea")).to_have_value("From the account: clouds all over the sky.")
    revisions = visitor.open_history("staff", KEY.format("problem", "polaris"))
    expect(revisions).to_have_count(1)
    expect(revisions).to_contain_text("by staff")
    assert visitor.errors == other.errors == []


@SAME_PAGES
def test_what_does_not_exist_is_not_found(browser: Browser, server: DemoServer) -> None:
    chen = Visitor(browser, server, "chen")
    paths = [
        "/units/missing/",
        "/xblock/resource/problem/public/missing.css",
        "/xblock/resource/problem/templates/problem.html",
        "/xblock/resource/problem/public/%00",
        "/xblock/resource/missing/public/missing.css",
    ]
    assert dict(zip(paths, chen.statuses(paths), strict=True)) == dict.fromkeys(paths, 404)


@SAME_PAGES
def test_handlers_answer_posts_with_a_token_for_blocks_that_exist(browser: Browser, server: DemoServer) -> None:
    chen = Visitor(browser, server, "chen")
    chen.open("/units/eyes/")
    post = """async ([path, token]) => {
        const options = {method: "POST", headers: token ? {} : {"X-CSRFToken": "wrong"}, body: "{}"};
        // The page's own fetch adds the token; a frame's is the browser's.
        const frame = document.body.appendChild(document.createElement("iframe"));
        return (await (token ? window : frame.contentWindow).fetch(path, options)).status;
    }"""
    handler = f"/xblock/{KEY.format('done', 'half-hour')}/handler/toggle_button"
    assert chen.page.evaluate(post, [handler, True]) == 200
    assert chen.page.evaluate(post, [handler, False]) == 403
    assert chen.statuses([handler]) == [405]
    for unknown in (
        f"/xblock/{KEY.format('problem', 'missing')}/handler/xmodule_handler/problem_get",
        f"/xblock/{TORCH}/handler/missing",
        f"/xblock/{TORCH}/handler/student_view",
        f"/xblock/aside-usage-v2:{TORCH.replace(':', '$:')}::acid_aside/handler/check_storage",
        "/xblock/no-key/handler/missing",
    ):
        assert chen.page.evaluate(post, [unknown, True]) == 404, unknown


@SAME_PAGES
def test_a_visitors_state_that_is_too_large_is_refused(browser: Browser, server: DemoServer) -> None:
    visitor = Visitor(browser, server)
    visitor.open("/units/log/")
    post = """async path => {
        const body = JSON.stringify({student_answer: "x ".repeat(400000)});
        const answer = await fetch(path, {method: "POST", body});
        return [answer.status, await answer.text()];
    }"""
    handler = f"/xblock/{KEY.format('freetextresponse', 'first-night')}/handler/submit"
    status, text = visitor.page.evaluate(post, handler)
    assert status == 403
    assert "a visitor's state may take" in text


def test_many_requests_at_once_all_succeed(browser: Browser, server: DemoServer) -> None:
    visitors = [Visitor(browser, server, name) for name in ("ada", "ben", "chen")]
    units = [f"/units/{name}/" for name in ("eyes", "darkness", "phases", "craters", "north", "distance", "log")]
    start = "paths => { window.answers = Promise.all(paths.map(path => fetch(path).then(answer => answer.status))) }"
    for visitor in visitors:
        visitor.page.evaluate(start, units * 3)
    for visitor in visitors:
        assert visitor.page.evaluate("window.answers") == [200] * len(units) * 3


def test_each_learner_has_a_star_of_their_own(browser: Browser, server: DemoServer) -> None:
    parallaxes = []
    for name in ("ada", "ben", "chen"):
        visitor = Visitor(browser, server, name)
        visitor.open("/units/distance/")
        text = visitor.block("parallax").locator("strong").first.text_content() or ""
        parallaxes.append(float(text.split()[0]))
        visitor.fill("parallax", str(1 / parallaxes[-1]), "Correct (1/1 point)")
    assert len(set(parallaxes)) > 1


@SAME_PAGES
def test_a_block_whose_script_fails_stops_no_other_block(browser: Browser, server: DemoServer) -> None:
    chen = Visitor(browser, server, "chen")
    # The problem comes before the poll.
    chen.page.add_init_script("Object.defineProperty(window, 'Problem', {value: () => { throw Error('broken') }})")
    chen.open("/units/darkness/")
    # No vote, because another test counts them. The poll's script lets learners submit once they have chosen.
    submit = chen.block("home-sky").get_by_role("button", name="Submit")
    expect(submit).to_be_disabled()
    chen.block("home-sky").get_by_text("Hundreds of stars").click()
    expect(submit).to_be_enabled()
    assert chen.errors

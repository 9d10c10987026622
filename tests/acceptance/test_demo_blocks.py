"""Two learners answer every block of the demo's course, before and after a restart, and staff review the history."""

from __future__ import annotations

from itertools import groupby

import pytest
from django.db import connection
from lxml import etree
from playwright.sync_api import Browser, expect

from demo.host.blocks import SHOWN_TYPES
from tests.acceptance.blocks_at_work import COURSE, Work
from tests.acceptance.browsing import KEY, Visitor
from tests.acceptance.demo_server import ROOT, DemoServer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        connection.vendor != "sqlite", reason="a minute of processor time; acid is in the browser on each database"
    ),
]

UNITS = [(unit, list(works)) for unit, works in groupby(COURSE, key=lambda work: work.unit)]
# The text that each entry shows of each field. A nested value has a path that begins with the field.
CHANGES = """entries => entries.map(entry => {
    const texts = {};
    for (const name of entry.querySelectorAll(".xus-changes dt")) {
        const field = name.textContent.split(" › ")[0];
        texts[field] = (texts[field] ?? "") + name.nextElementSibling.textContent;
    }
    return texts;
})"""


def test_every_block_of_the_course_is_here() -> None:
    course = etree.parse(ROOT / "demo" / "course" / "night-sky.xml")
    blocks = [
        (unit.get("url_name"), block.tag, block.get("url_name")) for unit in course.iter("vertical") for block in unit
    ]
    assert [block for block in blocks if block[1] not in SHOWN_TYPES] == [work[:3] for work in COURSE]


def test_each_learner_has_answers_of_their_own_and_a_history(browser: Browser, server: DemoServer) -> None:
    learners = {name: Visitor(browser, server, name) for name in ("ada", "ben")}
    for name, learner in learners.items():
        answer_all(learner, name)
    for name, learner in learners.items():
        answer_all_again(learner, name)

    server.kill()
    server.start()

    staff = Visitor(browser, server, "staff")
    for name, learner in learners.items():
        for unit, works in UNITS:
            learner.open(f"/units/{unit}/")
            for work in works:
                work.see(learner, work.answers[name][-1])
        see_recap(learner, name)
        for work in COURSE:
            see_history(staff, name, work)
        assert learner.errors == []


def answer_all(learner: Visitor, name: str) -> None:
    for unit, works in UNITS:
        learner.open(f"/units/{unit}/")
        for work in works:
            work.answer(learner, work.answers[name][0])


def answer_all_again(learner: Visitor, name: str) -> None:
    """See the first answers, although the other learner has answered since, and give the second ones."""
    for unit, works in UNITS:
        learner.open(f"/units/{unit}/")
        for work in works:
            first, *second = work.answers[name]
            work.see(learner, first)
            for answer in second:
                work.answer(learner, answer)


def see_recap(learner: Visitor, name: str) -> None:
    """See the number of answers of each problem in the block that reads other learners' state."""
    learner.open("/units/log/")
    numbers = [len(work.answers[name]) for work in COURSE if work.block_type == "problem"]
    shown = learner.block("recap").locator("dd").all_text_contents()
    assert shown == [f"{number} attempt{'s' if number > 1 else ''}" for number in numbers]


def see_history(staff: Visitor, name: str, work: Work) -> None:
    entries = staff.open_history(name, KEY.format(work.block_type, work.name))
    answers = work.answers[name]
    expect(entries.filter(has_text=f"by {name}"), work.name).to_have_count(work.kind.earlier + len(answers))
    # The newest entry is the first on the page.
    changes = entries.evaluate_all(CHANGES)[::-1][work.kind.earlier :]
    for number, (answer, change) in enumerate(zip(answers, changes, strict=True)):
        assert answer.kept in change[work.kind.field], (work.name, change)
        assert number == 0 or answers[number - 1].kept in change[work.kind.field], (work.name, change)

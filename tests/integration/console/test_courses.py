"""A course: activity over time, busiest blocks, and learners who may be stuck."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.factories import COURSE, make_blocks, make_learners
from tests.integration.console.reading import MOST_STATEMENTS, address, links, read, statements
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.maintenance import reports

PAGE = address("course", COURSE)


def work(name: str, changes: int, grade: float | None = None) -> None:
    """Change the first block so often, and the second one once."""
    client = DjangoXBlockUserStateClient()
    first, second = make_blocks(2)
    for number in range(changes):
        client.set(name, first, {"n": number, "attempts": number // 2})
    client.set(name, second, {"n": 1})
    if grade is not None:
        client.set_score(name, first, grade, 1)


def test_busy_blocks_and_stuck_learners_are_shown(ann: User, staff: Client) -> None:
    make_learners("bob", "cid")
    User.objects.filter(pk=ann.pk).update(first_name="Ann", last_name="Lind")
    work("ann", 9)
    work("bob", 7, grade=1)
    work("cid", 2, grade=0)
    text = read(staff, PAGE)
    assert "3 learners have a state or a score here" in text
    assert "block0 problem 3 20 block1 problem 3 3" in text
    stuck = text.partition("may be stuck")[2]
    assert "Ann Lind ann block0 4 9" in stuck
    assert "bob" not in stuck
    assert "cid" not in stuck
    assert timezone.now().strftime("%m/%d/%Y") in text
    assert "Revision 9" in read(staff, links(staff, PAGE)["Ann Lind"])


def test_nobody_is_stuck_where_there_are_no_points(ann: User, staff: Client) -> None:
    work("ann", 9)
    assert "None." in read(staff, PAGE)


def test_a_course_without_states(staff: Client) -> None:
    assert "No learner has a state in this course" in read(staff, PAGE)


def test_a_large_course_is_estimated_from_all_that_some_learners_did(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"learner{number}" for number in range(6)]
    make_learners(*names)
    for name in names:
        work(name, 2)
    assert "An estimate" not in read(staff, PAGE)
    monkeypatch.setattr(reports, "ROWS_LOOKED_AT", 5)
    monkeypatch.setattr(reports, "SAMPLE", 3)
    text = read(staff, PAGE)
    assert "An estimate: this page shows what 3 of the learners did" in text
    assert "block0 problem 3 6 block1 problem 3 3" in text


def test_a_course_takes_the_same_few_statements_at_any_size(ann: User, staff: Client) -> None:
    make_learners("bob")
    work("ann", 9)
    work("bob", 1, grade=1)
    few = statements(staff, PAGE)
    names = [f"learner{number:03}" for number in range(40)]
    make_learners(*names)
    for name in names:
        DjangoXBlockUserStateClient().set_many(name, {key: {"a": 1} for key in make_blocks(60)})
    assert statements(staff, PAGE) == few <= MOST_STATEMENTS

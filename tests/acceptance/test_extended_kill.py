"""Writers killed with ``kill -9``, with the history beside the state and in a separate database."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from opaque_keys.edx.keys import UsageKey

from tests.acceptance import workers
from tests.acceptance.agreement import Histories, Owner, assert_agreement_of_all_stores
from tests.acceptance.conftest import Manage
from tests.acceptance.processes import Crew, Work, listen
from tests.acceptance.scene import problems
from xblock_user_state.models import BaseStudentModuleHistory
from xblock_user_state.state.keys import identify_block

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", "student_module_history"]),
    pytest.mark.timeout(300),
]

Task = tuple[str, Sequence[UsageKey], str, int]
KillWriters = Callable[[Mapping[str, Any], Work], list["Shift"]]

SAME_DATABASE = {"EXTENDED_HISTORY": False}
AT_ONCE = {"EXTENDED_HISTORY": True}
BY_RELAY = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}

WRITERS = 4
ROUNDS = 30
# Blocks that all rounds share, and blocks that are new in each round.
LASTING, NEW = 5, 5
# The longest life of a writer. For half of a round's writers it begins at once: the kill hits their first call, half
# of whose blocks are new. For the others it begins when their first call is acknowledged, so the kill hits a later
# call, however busy the machine is.
LIFE_SECONDS = 0.04
EARLY = WRITERS // 2
# A writer counts up from the round's number times this; it is killed long before it reaches the next round's.
NUMBERS = 10_000


@dataclass(frozen=True)
class Shift:
    """The task of one writer in one round, and its acknowledged calls before it was killed."""

    learner: str
    blocks: Sequence[UsageKey]
    field: str
    start: int
    said: Sequence[Any]


@pytest.fixture
def kill_writers(crew: Crew, learners: list[str], manage: Manage) -> KillWriters:
    """Kills writers, round after round, lets the relay ship the outbox, and returns the shifts."""

    def kill_writers(flags: Mapping[str, Any], work: Work) -> list[Shift]:
        choice = random.Random(2012)
        shifts = [shift for tasks in _tasks(learners) for shift in _one_round(crew, choice, flags, work, tasks)]
        manage("relay_history", "--once")
        manage("check_history")
        return shifts

    return kill_writers


def _tasks(learners: Sequence[str]) -> Iterator[list[Task]]:
    """Yield the writers' tasks of each round; in every second round two writers share a learner."""
    lasting = problems("lasting", LASTING)
    for number in range(ROUNDS):
        blocks = [*lasting, *problems(f"round-{number}", NEW)]
        yield [
            (learners[writer // (1 + number % 2)], blocks, f"writer-{writer}", NUMBERS * number)
            for writer in range(WRITERS)
        ]


def _one_round(
    crew: Crew, choice: random.Random, flags: Mapping[str, Any], work: Work, tasks: Sequence[Task]
) -> Iterator[Shift]:
    """Start the writers, and kill half of them at once, the others after their first call."""
    victims = dict(zip(crew.hire(WRITERS), tasks, strict=True))
    for victim, task in victims.items():
        victim.start(workers.with_settings, flags, work, *task)
    now = time.monotonic()
    deadlines = {victim: now + choice.uniform(0, LIFE_SECONDS) for victim in choice.sample([*victims], EARLY)}
    while victims:
        for victim in listen(victims, until=min(deadlines.values(), default=None)):
            # A writer without a call has nothing to lose.
            deadlines.setdefault(victim, time.monotonic() + choice.uniform(0, LIFE_SECONDS))
        for victim in [victim for victim, deadline in deadlines.items() if deadline <= time.monotonic()]:
            del deadlines[victim]
            yield Shift(*victims.pop(victim), victim.kill())


def acknowledged_by(shifts: Iterable[Shift]) -> list[Any]:
    """Return all acknowledged values: in each round at least one from each writer that was not killed early."""
    shifts = list(shifts)
    assert len(shifts) == ROUNDS * WRITERS
    assert sum(bool(shift.said) for shift in shifts) >= ROUNDS * (WRITERS - EARLY)
    return [value for shift in shifts for value in shift.said]


def assert_whole_calls(shifts: Sequence[Shift], histories: Histories) -> None:
    """Assert that each acknowledged call is in all of its blocks, and at most one other call of a shift.

    No later call may have undone it: the state now comes from that call or a later one.
    """
    assert acknowledged_by(shifts)
    numbers = {owner: _numbers_of(entries) for owner, entries in histories.items()}
    for shift in shifts:
        mine = set(range(shift.start, shift.start + NUMBERS))
        first, *others = [numbers.get(owner, {}).get(shift.field, set()) & mine for owner in _owners(shift)]
        assert others == [first] * len(others), f"a part of a call: {shift}"
        assert first >= set(shift.said), f"a lost call: {shift}"
        # The last call may have been committed just before the kill, too late to be acknowledged.
        unsaid = first - set(shift.said)
        assert len(unsaid) <= 1, f"a call that was not: {shift}"
        assert all(number > said for number in unsaid for said in shift.said)
        now = [json.loads(histories[owner][-1].state or "{}") for owner in _owners(shift) if shift.said]
        assert all(state[shift.field] >= max(shift.said) for state in now), f"an undone call: {shift}"


def _owners(shift: Shift) -> list[Owner]:
    student_id = get_user_model().objects.get(username=shift.learner).pk
    return [(student_id, identify_block(block).id) for block in shift.blocks]


def _numbers_of(entries: Iterable[BaseStudentModuleHistory]) -> Mapping[str, set[int]]:
    numbers: dict[str, set[int]] = defaultdict(set)
    for entry in entries:
        for field, number in json.loads(entry.state or "{}").items():
            numbers[field].add(number)
    return numbers


@pytest.mark.parametrize("flags", [SAME_DATABASE, AT_ONCE, BY_RELAY], ids=["same database", "at once", "by relay"])
def test_killed_writers_leave_whole_calls(kill_writers: KillWriters, flags: Mapping[str, Any]) -> None:
    shifts = kill_writers(flags, workers.count_up)
    assert_whole_calls(shifts, assert_agreement_of_all_stores())


def test_killed_transactions_of_callers_are_there_with_all_they_did(kill_writers: KillWriters) -> None:
    shifts = kill_writers(AT_ONCE, workers.count_up_in_transactions)
    histories = assert_agreement_of_all_stores()
    assert_whole_calls(shifts, histories)
    of_callers = set(Group.objects.values_list("name", flat=True))
    assert of_callers == {
        f"{shift.learner} {shift.field} {number}"
        for shift in shifts
        for number in _numbers_of(histories.get(_owners(shift)[0], ())).get(shift.field, ())
    }


def test_killed_deletions_leave_no_history_behind(kill_writers: KillWriters) -> None:
    shifts = kill_writers(AT_ONCE, workers.count_up_and_delete)
    histories = assert_agreement_of_all_stores()
    deleted = [value for value in acknowledged_by(shifts) if value is not None]
    assert all(number >= ROUNDS // 4 for number in Counter(one.kind for one in deleted).values())
    assert {one.kind for one in deleted} == {"a row", "all rows", "a learner"}
    gone = [one.learner for one in deleted if one.kind == "a learner"]
    assert not get_user_model().objects.filter(username__in=gone).exists()
    there = set(get_user_model().objects.values_list("pk", flat=True))
    assert {student_id for student_id, _ in histories} <= there

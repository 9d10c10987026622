"""A course: activity over time, its busiest blocks, and learners who may be stuck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from opaque_keys.edx.keys import UsageKey

from xblock_user_state.access import Action
from xblock_user_state.console import people
from xblock_user_state.console.access import require
from xblock_user_state.console.charts import chart, over_time
from xblock_user_state.console.hosts import ConsoleHost, console_host
from xblock_user_state.console.keys import blocks_in, course_of
from xblock_user_state.console.offers import offers
from xblock_user_state.console.pages import page, staff_page
from xblock_user_state.console.responses import attempts_in
from xblock_user_state.console.sources import database_of_reports
from xblock_user_state.history.entries import Owner
from xblock_user_state.maintenance.reports import CourseRow, course_sample, stored_rows
from xblock_user_state.state.change import existing_state
from xblock_user_state.state.codec import NotAState

SHOWN = 10
"""Blocks, and learners, in a list."""

MANY_CHANGES = 6
"""Changes without a point from which on a learner may be stuck."""


class BusyBlock(NamedTuple):
    """A block with its learners and changes in the sample."""

    key: UsageKey
    title: str
    learners: int
    changes: int


class Stuck(NamedTuple):
    """A learner who changed a state often and has no points, where others have."""

    person: people.Person
    key: UsageKey
    title: str
    changes: int
    """Revisions, those that staff made too."""
    attempts: int | None


@staff_page
def course(request: HttpRequest, course: str) -> HttpResponse:
    """Show the activity in a course."""
    key = course_of(course)
    require(request, Action.REPORT, context_key=key)
    keys = blocks_in(key)
    database, host = database_of_reports(), console_host()
    rows, is_sample = course_sample(database, keys)
    context = {
        "course": course,
        "acts": offers(request, key),
        "learners": len({row.student_id for row in rows}),
        "is_sample": is_sample,
        "chart": chart(over_time(row.modified for row in rows)),
        "busiest": _busiest(host, keys, rows),
        "stuck": list(_stuck(database, host, keys, rows)),
    }
    return page(request, "course", context)


def _busiest(host: ConsoleHost, keys: Mapping[int, UsageKey], rows: Sequence[CourseRow]) -> list[BusyBlock]:
    learners = Counter(row.block_id for row in rows)
    changes: Counter[int] = Counter()
    for row in rows:
        changes[row.block_id] += row.revision
    return [
        BusyBlock(keys[id_], host.title(keys[id_]), learners[id_], count) for id_, count in changes.most_common(SHOWN)
    ]


def _stuck(
    database: str, host: ConsoleHost, keys: Mapping[int, UsageKey], rows: Sequence[CourseRow]
) -> Iterator[Stuck]:
    graded = {row.block_id for row in rows if row.grade}
    found = [row for row in rows if row.revision >= MANY_CHANGES and not row.grade and row.block_id in graded]
    worst = nlargest(SHOWN, found, key=lambda row: row.revision)
    learners = people.of_ids({row.student_id for row in worst})
    states = stored_rows(database, [Owner(row.student_id, row.block_id) for row in worst])
    for row in worst:
        # A deleted user's rows may outlive them.
        if row.student_id in learners:
            key, stored = keys[row.block_id], states.get(Owner(row.student_id, row.block_id))
            attempts = _attempts(stored.text) if stored else None
            yield Stuck(learners[row.student_id], key, host.title(key), row.revision, attempts)


def _attempts(text: str | None) -> int | None:
    try:
        return attempts_in(existing_state(text))
    except NotAState:
        return None

"""All learners, one learner, and one learner in a course."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

from django.db.models import Count, Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.access import Action
from xblock_user_state.console import people
from xblock_user_state.console.access import require
from xblock_user_state.console.charts import chart, over_time
from xblock_user_state.console.hosts import ConsoleHost, console_host
from xblock_user_state.console.keys import course_of
from xblock_user_state.console.offers import offers, offers_on_person
from xblock_user_state.console.pages import page, query, staff_page, text_of
from xblock_user_state.console.responses import attempts_in
from xblock_user_state.console.sources import database_of_reports
from xblock_user_state.history.entries import all_rows
from xblock_user_state.interface import BlockScore
from xblock_user_state.maintenance.reports import Activity, activity_of
from xblock_user_state.state.change import existing_state, score_of
from xblock_user_state.state.codec import NotAState
from xblock_user_state.state.keys import identify_block, identify_context, parse_block
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import errors_translated

LEARNERS = 25
"""Learners on a page."""

EXAMINED = 200
"""Learners whose activity a page with a filter looks at."""

BLOCKS = 50
"""Blocks on a page."""

MOMENTS = 5_000
"""States whose times a chart has at most."""


class Row(NamedTuple):
    """A learner in the list."""

    person: people.Person
    activity: Activity | None


class BlockRow(NamedTuple):
    """A learner's state in a block, in the list of a course."""

    key: UsageKey
    title: str
    score: BlockScore | None
    attempts: int | None
    is_readable: bool
    revision: int
    created: datetime | None
    """``None`` if the learner has no row in the block."""
    modified: datetime | None


class _Filter(NamedTuple):
    """The filters of the list. `problem` says which of them can't be read."""

    course: LearningContextKey | None
    block_type: str
    since: date | None
    until: date | None
    problem: str

    def __bool__(self) -> bool:
        return bool(self.course or self.block_type or self.since or self.until)


@staff_page
def learners(request: HttpRequest) -> HttpResponse:
    """List learners by username, with their activity."""
    wanted = _filter_of(request)
    require(request, Action.REPORT, context_key=wanted.course)
    words, after = text_of(request, "q").split(), text_of(request, "after")
    found = [] if wanted.problem else people.page(words, after, (EXAMINED if wanted else LEARNERS) + 1)
    rows, looked_at = _rows(found, wanted)
    is_end = looked_at == len(found)
    names = ("q", "course", "type", "since", "until")
    given = {name: text_of(request, name) for name in names}
    context = {
        **given,
        "problem": wanted.problem,
        "course_key": wanted.course,
        "has_more_filters": any(given[name] for name in ("type", "since", "until")),
        "rows": rows,
        "is_filtered": bool(wanted),
        "looked_at": looked_at,
        "is_first": not after,
        "first": query(**given),
        "next": None if is_end else query(**given, after=found[looked_at - 1].username),
    }
    return page(request, "learners", context)


def _filter_of(request: HttpRequest) -> _Filter:
    text, course, problem = text_of(request, "course"), None, ""
    try:
        if text:
            course = LearningContextKey.from_string(text)
            identify_context(course)
    except (InvalidKeyError, ValueError):
        course, problem = None, _("“%(text)s” is not the key of a course.") % {"text": text}
    days: dict[str, date | None] = {}
    for name in ("since", "until"):
        day = text_of(request, name)
        try:
            days[name] = parse_date(day)
        except ValueError:
            days[name] = None
        if day and days[name] is None:
            problem = _("“%(text)s” is not a date. Write it as 2026-11-28.") % {"text": day}
    return _Filter(course, text_of(request, "type"), **days, problem=problem)


def _rows(found: Sequence[people.Person], wanted: _Filter) -> tuple[list[Row], int]:
    """Return the rows of a page, and the number of learners that were looked at.

    One statement, or three with a replica.
    """
    limit = EXAMINED if wanted else LEARNERS
    activities = activity_of(
        database_of_reports(),
        [person.id for person in found[:limit]],
        context_id=identify_context(wanted.course) if wanted.course else None,
        block_type=wanted.block_type or None,
        since=_begin_of(wanted.since),
        before=_begin_of(wanted.until and wanted.until + timedelta(days=1)),
    )
    rows: list[Row] = []
    for place, person in enumerate(found[:limit]):
        if len(rows) == LEARNERS:
            return rows, place
        if not wanted or person.id in activities:
            rows.append(Row(person, activities.get(person.id)))
    return rows, min(limit, len(found))


def _begin_of(day: date | None) -> datetime | None:
    return timezone.make_aware(datetime.combine(day, datetime.min.time())) if day else None


@staff_page
def learner(request: HttpRequest, username: str) -> HttpResponse:
    """List the courses of a learner."""
    require(request, Action.READ, username)
    person = people.find(username)
    database = state_database()
    sums = {"blocks": Count("*"), "last": Max("modified"), "grades": Sum("grade"), "max_grades": Sum("max_grade")}
    rows = all_rows(StudentModule, database).filter(student_id=person.id).order_by()
    with errors_translated(database):
        found = rows.values("block__context__key").annotate(**sums).values_list("block__context__key", *sums)
        courses = [(key, Activity(*values)) for key, *values in found]
    # Newest first; a sort keeps the order of what is equal.
    courses = sorted(sorted(courses, key=itemgetter(0)), key=lambda course: course[1].last, reverse=True)
    return page(request, "learner", {"person": person, "courses": courses, "acts": offers_on_person(request, username)})


@staff_page
def in_course(request: HttpRequest, username: str, course: str) -> HttpResponse:
    """List the blocks of a learner in a course: in the order of the host's outline, or the last changed first."""
    key = course_of(course)
    require(request, Action.READ, username, key)
    person = people.find(username)
    host = console_host()
    outline = host.outline(key)
    after = text_of(request, "after")
    rows, following = _in_order(host, person, outline, after) if outline else _newest(host, person, key, after)
    context = {
        "person": person,
        "course": course,
        "acts": offers(request, key, None, person.username),
        "has_outline": bool(outline),
        "rows": rows,
        "is_first": not after,
        "next": query(after=following) if following else None,
        "chart": chart(over_time(_moments(person, key))),
    }
    return page(request, "in_course", context)


_COLUMNS = ("block_id", "block__usage_key", "state", "grade", "max_grade", "revision", "created", "modified")


def _newest(
    host: ConsoleHost, person: people.Person, course: LearningContextKey, after: str
) -> tuple[list[BlockRow], str]:
    """Return the rows that follow the place `after`, and the place of the next page."""
    rows = _states(person).filter(block__context_id=identify_context(course))
    place = _place(after)
    if place:
        rows = rows.filter(Q(modified__lt=place[0]) | Q(modified=place[0], block_id__gt=place[1]))
    with errors_translated(rows.db):
        found = list(rows.order_by("-modified", "block_id").values_list(*_COLUMNS)[: BLOCKS + 1])
    following = ""
    if len(found) > BLOCKS:
        last = found[BLOCKS - 1]
        following = f"{last[-1].isoformat()},{last[0]}"
    keys = [(_key_of(course, row[1]), row) for row in found[:BLOCKS]]
    return [_block_row(host, key, row[2:]) for key, row in keys if key], following


def _in_order(
    host: ConsoleHost, person: people.Person, outline: Sequence[UsageKey], after: str
) -> tuple[list[BlockRow], str]:
    """Return the rows of the outline that follow the block `after`, and the last block if there are more."""
    keys = [str(key) for key in outline]
    start = keys.index(after) + 1 if after in keys else 0
    shown = outline[start : start + BLOCKS]
    ids = {identify_block(key).id: key for key in shown}
    rows = _states(person).filter(block_id__in=list(ids))
    with errors_translated(rows.db):
        found = {row[0]: row[2:] for row in rows.values_list(*_COLUMNS)}
    nothing = (None, None, None, 0, None, None)
    following = keys[start + BLOCKS - 1] if len(outline) > start + BLOCKS else ""
    return [_block_row(host, key, found.get(id_, nothing)) for id_, key in ids.items()], following


def _states(person: people.Person) -> Any:
    return all_rows(StudentModule, state_database()).filter(student_id=person.id)


def _place(text: str) -> tuple[datetime, int] | None:
    moment, comma, block_id = text.partition(",")
    try:
        found = parse_datetime(moment)
        return (found, int(block_id)) if comma and found and timezone.is_aware(found) else None
    except ValueError:
        return None


def _key_of(course: LearningContextKey, text: str) -> UsageKey | None:
    try:
        return parse_block(str(course), text)
    except ValueError:
        # Restored or imported rows may have texts of no key.
        return None


def _block_row(host: ConsoleHost, key: Any, values: Sequence[Any]) -> BlockRow:
    text, grade, max_grade, revision, created, modified = values
    attempts, is_readable = None, True
    try:
        attempts = attempts_in(existing_state(text))
    except NotAState:
        is_readable = False
    score = score_of(grade, max_grade, modified, created)
    return BlockRow(key, host.title(key), score, attempts, is_readable, revision, created, modified)


def _moments(person: people.Person, key: LearningContextKey) -> list[datetime]:
    rows = _states(person).filter(block__context_id=identify_context(key)).order_by("-modified")
    with errors_translated(rows.db):
        return list(rows.values_list("modified", flat=True)[:MOMENTS])

"""Reads the action log: calls, the rows of one call, and who acted on a revision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.console import people
from xblock_user_state.console.hosts import console_host
from xblock_user_state.state.keys import parse_block
from xblock_user_state.store.blocks import texts_of
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import LearningContext
from xblock_user_state.store.transactions import errors_translated

EXAMINED = 1_000
"""Rows of the log that a page of calls looks at."""

SHOWN = 25
"""Calls on a page, and rows of one call."""

PART = 100
"""Rows that are undone in one request."""


class Wanted(NamedTuple):
    """The filters of the list of calls. Ids that are not found match nothing."""

    act: str = ""
    actor_id: Any = None
    student_id: Any = None
    context_id: int | None = None
    since: date | None = None
    until: date | None = None


class Place(NamedTuple):
    """A place among the rows of the log, in the order of time."""

    created: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{self.created.isoformat()},{self.id}"

    @classmethod
    def of(cls, text: str) -> Place | None:
        """Return the place of a text; ``None`` if it is none."""
        moment, _, id_ = text.partition(",")
        try:
            found = datetime.fromisoformat(moment)
            return cls(found, UUID(id_)) if timezone.is_aware(found) else None
        except ValueError:
            return None


class Call(NamedTuple):
    """The neighbouring rows of one call in one course."""

    run: UUID
    act: str
    actor: str | None
    reason: str
    created: datetime
    course: str | None
    states: int
    learner: str | None
    """The learner, if it is one; ``None`` for several, for all, and for a user who is gone."""
    learners: int
    """0 for all learners."""


class Line(NamedTuple):
    """A row of one call."""

    id: UUID
    created: datetime
    learner: str | None
    is_of_all: bool
    course: str | None
    block: str | None
    title: str
    """The block's; empty without a block."""
    revision_before: int | None
    revision_after: int | None
    is_undone: bool


class Why(NamedTuple):
    """The action that made a revision."""

    run: UUID
    act: str
    reason: str


def rows() -> QuerySet[LoggedAction]:
    """Return all rows."""
    return LoggedAction.objects.using(state_database())


def calls(wanted: Wanted, before: Place | None) -> tuple[list[Call], Place | None, bool]:
    """Return calls, newest first, the place of the next page, and whether only a part of the log was looked at.

    One statement for the rows, unless the filter is a learner one that finds them by time; two for names.
    """
    found = rows().order_by("-created", "-id")
    if wanted.student_id is not None:
        found = found.filter(student_id=wanted.student_id)
    if wanted.since:
        found = found.filter(created__gte=_begin(wanted.since))
    if wanted.until:
        found = found.filter(created__lt=_begin(wanted.until + timedelta(days=1)))
    if before:
        found = found.filter(created__lte=before.created).exclude(created=before.created, id__gte=before.id)
    with errors_translated(state_database()):
        examined = list(found[:EXAMINED])
    groups, last = _grouped(examined, wanted)
    is_end = len(examined) < EXAMINED and (last is None or last is examined[-1])
    following = None if is_end or last is None else Place(last.created, last.id)
    return _named(groups), following, len(examined) == EXAMINED


def _grouped(examined: Sequence[LoggedAction], wanted: Wanted) -> tuple[list[list[LoggedAction]], LoggedAction | None]:
    """Return the matching rows by call and course, and the last row that was looked at."""
    groups: dict[tuple[UUID, int | None], list[LoggedAction]] = {}
    last = None
    for row in examined:
        matches = (
            (not wanted.act or row.act == wanted.act)
            and (wanted.actor_id is None or row.actor_id == wanted.actor_id)
            and (wanted.context_id is None or row.context_id == wanted.context_id)
        )
        key = (row.run, row.context_id)
        if matches and key not in groups and len(groups) == SHOWN:
            break
        if matches:
            groups.setdefault(key, []).append(row)
        last = row
    return list(groups.values()), last


def _named(groups: Sequence[Sequence[LoggedAction]]) -> list[Call]:
    learners = [{row.student_id for row in group} for group in groups]
    single = {student_id for of_call in learners if len(of_call) == 1 for student_id in of_call}
    names = people.names_of({*single, *(group[0].actor_id for group in groups)} - {None})
    courses = _courses({group[0].context_id for group in groups} - {None})
    return [
        Call(
            group[0].run,
            group[0].act,
            names.get(group[0].actor_id),
            group[0].reason,
            group[-1].created,
            courses.get(group[0].context_id),
            sum(row.block_id is not None for row in group),
            names.get(next(iter(of_call))) if len(of_call) == 1 else None,
            len(of_call - {None}),
        )
        for group, of_call in zip(groups, learners, strict=True)
    ]


def lines(found: QuerySet[LoggedAction], after: Place | None) -> tuple[list[Line], Place | None]:
    """Return a page of rows of one call in the order of its work, and the place of the next page."""
    shown = _following(found, after, SHOWN + 1)
    names = people.names_of({row.student_id for row in shown} - {None})
    texts = texts_of(state_database(), {row.block_id for row in shown if row.block_id is not None})
    courses = _courses({row.context_id for row in shown} - {None})
    titles = {id_: _title(*of_block) for id_, of_block in texts.items()}
    page = [
        Line(
            row.id,
            row.created,
            names.get(row.student_id),
            row.student_id is None,
            courses.get(row.context_id),
            texts.get(row.block_id or 0, (None, None))[1],
            titles.get(row.block_id or 0, ""),
            row.revision_before,
            row.revision_after,
            row.undone_by is not None,
        )
        for row in shown[:SHOWN]
    ]
    return page, Place(shown[SHOWN - 1].created, shown[SHOWN - 1].id) if len(shown) > SHOWN else None


def _title(course: str, block: str) -> str:
    try:
        return console_host().title(parse_block(course, block))
    except ValueError:
        # Restored or imported rows may have texts of no key.
        return block


def part_of(found: QuerySet[LoggedAction], after: str | None) -> tuple[list[LoggedAction], str | None]:
    """Return the rows of one call that are undone in one request, and the place after them."""
    part = _following(found, Place.of(after) if after else None, PART + 1)
    return part[:PART], str(Place(part[PART - 1].created, part[PART - 1].id)) if len(part) > PART else None


def _following(found: QuerySet[LoggedAction], after: Place | None, count: int) -> list[LoggedAction]:
    if after:
        found = found.filter(created__gte=after.created).exclude(created=after.created, id__lte=after.id)
    with errors_translated(state_database()):
        return list(found.order_by("created", "id")[:count])


def has_rows(run: UUID) -> bool:
    """Tell whether a call has done anything. One statement."""
    with errors_translated(state_database()):
        return rows().filter(run=run).exists()


def done_in(run: UUID, student_ids: Collection[Any]) -> set[tuple[Any, int | None]]:
    """Return the learners and blocks among the rows of a call. One statement."""
    found = rows().filter(run=run, student_id__in=set(student_ids))
    with errors_translated(state_database()):
        return set(found.values_list("student_id", "block_id"))


def reasons(student_id: Any, block_id: int, revisions: Collection[int]) -> dict[int, Why]:
    """Return the actions that made some revisions of a learner's state. One statement."""
    found = rows().filter(student_id=student_id, block_id=block_id, revision_after__in=list(revisions))
    with errors_translated(state_database()):
        return {row.revision_after or 0: Why(row.run, row.act, row.reason) for row in found}


def _begin(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def _courses(context_ids: Collection[Any]) -> dict[Any, str]:
    if not context_ids:
        return {}
    contexts = LearningContext.objects.using(state_database()).filter(id__in=list(context_ids))
    return dict(contexts.values_list("id", "key"))


def undoable(found: QuerySet[LoggedAction]) -> QuerySet[LoggedAction]:
    """Return the rows that can be undone."""
    return found.filter(revision_after__isnull=False, undone_by__isnull=True)

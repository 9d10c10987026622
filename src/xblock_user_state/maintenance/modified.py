"""The rows that were changed in a range of time, of all learners.

A full scan of `StudentModule` by its primary key, because no index has a time: a changing column in an index would make
each write of a learner dearer (docs/decisions/0014). Each 200 rows take one statement for their keys and one for the
rows in the range, and two for names where there are any. Run it in a task: on a site of a billion rows it takes hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet
from opaque_keys.edx.keys import UsageKey

from xblock_user_state.history.entries import Owner, all_rows
from xblock_user_state.interface import BlockScore
from xblock_user_state.maintenance.naming import BlockName, block_names
from xblock_user_state.maintenance.paging import owner_pages
from xblock_user_state.state.change import score_of
from xblock_user_state.state.keys import parse_block
from xblock_user_state.store.databases import reports_database
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import errors_translated
from xblock_user_state.store.users import Usernames

__all__ = ["ModifiedRow", "rows_modified"]


class ModifiedRow(NamedTuple):
    """A learner's row in one block, as it is stored."""

    student_id: Any
    block_id: int
    username: str | None
    """``None`` if the user is gone."""
    block_key: UsageKey | None
    """The canonical key; ``None`` if the block's registration is lost or damaged."""
    text: str | None
    """The JSON text of the state: ``{}`` if it was deleted, ``None`` if there never was one."""
    score: BlockScore | None
    revision: int
    modified: datetime


def rows_modified(
    since: datetime,
    until: datetime | None = None,
    *,
    after: tuple[Any, int] | None = None,
    using: str | None = None,
) -> Iterator[ModifiedRow]:
    """Yield the rows that were changed last at `since` or later and before `until`, by learner and block.

    Give ``student_id`` and ``block_id`` of the last row that you have handled as `after`, to go on from there. Memory
    is bounded by 200 rows. No transaction stays open between two of them. So a row that is changed meanwhile is yielded
    as before, as after, or not at all if its new time is out of the range: leave `until` open to miss none.

    `using` is the alias of the database to read, such as a replica; the setting ``REPLICA`` is the default.

    Raises ``ValueError`` for times without a time zone and for an unknown alias, and `ServiceUnavailable`.
    """
    for name, time in (("since", since), ("until", until)):
        if time is not None and time.utcoffset() is None:
            raise ValueError(f"{name} must be an aware datetime, not {time!r}")
    in_range = Q(modified__gte=since) & (Q() if until is None else Q(modified__lt=until))

    # Inside, because a generator would check its arguments only at the first next.
    def rows() -> Iterator[ModifiedRow]:
        database, usernames = reports_database(using), Usernames()
        with errors_translated(database):
            for page in owner_pages(database, after=None if after is None else Owner(*after)):
                if page:
                    yield from _named(database, list(_between(database, page[0], page[-1]).filter(in_range)), usernames)

    return rows()


def _between(database: str, first: Owner, last: Owner) -> QuerySet[StudentModule]:
    # The range of learners follows from the keys. MariaDB makes an index range of it, and none of a row comparison.
    learners = Q(student_id__gte=first.student_id, student_id__lte=last.student_id)
    rows = all_rows(StudentModule, database).filter(learners, pk__gte=first, pk__lte=last)
    return rows.order_by("student_id", "block_id")


def _named(database: str, found: list[StudentModule], usernames: Usernames) -> Iterator[ModifiedRow]:
    if not found:
        return
    names = usernames.of({row.student_id for row in found})
    blocks = block_names(database, {row.block_id for row in found})
    for row in found:
        yield ModifiedRow(
            row.student_id,
            row.block_id,
            names.get(row.student_id),
            _key_of(blocks[row.block_id]),
            row.state,
            score_of(row.grade, row.max_grade, row.modified, row.created),
            row.revision,
            row.modified,
        )


def _key_of(name: BlockName) -> UsageKey | None:
    try:
        return None if name.usage_key is None else parse_block(str(name.context_key), name.usage_key)
    except ValueError:
        return None

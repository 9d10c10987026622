"""The newest activity of one learner.

No index has a time, so that updates stay heap-only. The statement reads the learner's rows, which are neighbours in the
primary key, and sorts them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections

from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import REVISION, Sql, Target
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import fetch, pieces, selected


class Active(NamedTuple):
    """A learner's row."""

    block_id: int
    text: str | None
    modified: datetime
    revision: int


def latest(database: str, student_id: Any, limit: int, block_ids: Collection[int] | None = None) -> Sequence[Active]:
    """Return the learner's rows that were changed last, newest first, or those in some blocks.

    Rows of one time come by the id of their block. One statement, or one for 10,000 blocks.
    """
    target = Target(
        connections[database],
        StudentModule,
        ("block_id", "state", "modified", REVISION),
        {"student_id": student_id},
    )
    source = dialect_of(target.connection).keyed(target.table)
    found = [
        Active(*values)
        for condition, parameters in _conditions(target, block_ids)
        for values in fetch(
            target,
            f"SELECT {selected(target)} FROM {source} WHERE {condition} ORDER BY modified DESC, block_id LIMIT {limit}",
            parameters,
            keep_plan=True,
        )
    ]
    return sorted(found, key=lambda row: (row.modified, -row.block_id), reverse=True)[:limit]


def _conditions(target: Target, block_ids: Collection[int] | None) -> Iterator[Sql]:
    dialect, pinned = dialect_of(target.connection), target.pinned_values()
    [learner] = dialect.pinned(target.layout)
    if block_ids is None:
        yield learner, pinned
        return
    for some in pieces(target.connection.alias, sorted(block_ids)):
        in_list, ids = dialect.in_list("block_id", some, keep_plan=True)
        yield f"{learner} AND {in_list}", [*pinned, *ids]

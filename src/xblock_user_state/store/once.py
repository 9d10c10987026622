"""Writes that their callers name: however often such a write is repeated, it is done once.

The name is taken in the transaction of the write, with the answer. So a crash after the commit leaves the answer for a
repetition. The write of a repetition is rolled back, because its name is taken.

On PostgreSQL the row of the name is part of the write's statement, where one statement is the write. Elsewhere a write
takes one statement more, and a transaction. A repetition takes more than that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db import IntegrityError, connections

from xblock_user_state.state.change import clock
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import Rows, Target
from xblock_user_state.store.models import AnsweredWrite
from xblock_user_state.store.transactions import errors_translated


class Named(NamedTuple):
    """A caller's name for a request, unique for a learner and a day, and a hash of the request."""

    key: str
    request: str


class KeyReused(ValueError):
    """The key of a write belongs to another request. Give each request a key of its own."""


class NameTaken(Exception):
    """The name is that of a committed write."""


def name_row(database: str, student_id: Any, named: Named, answer: str) -> Rows:
    """Return the row that takes a name. It exists already if the name is that of a committed write."""
    target = Target(
        connections[database], AnsweredWrite, (*named._fields, "answer", "created"), {"student_id": student_id}
    )
    return Rows(target, [(*named, answer, clock())])


def take(name: Rows) -> None:
    """Take a name in the transaction of its write. Waits for another write with it. Raises `NameTaken`."""
    try:
        dialect_of(name.target.connection).insert(name.target, name.values)
    except IntegrityError:
        raise NameTaken from None


def answer_to(database: str, student_id: Any, named: Named) -> str | None:
    """Return the answer of a committed write; ``None`` if there is none. Raises `KeyReused`."""
    rows = AnsweredWrite._base_manager.using(database).filter(student_id=student_id, key=named.key)
    with errors_translated(database):
        found = rows.values_list("request", "answer").first()
    if found is None:
        return None
    request, answer = found
    if request != named.request:
        raise KeyReused(f"the key {named.key!r} belongs to another request; give each request a key of its own")
    return str(answer)

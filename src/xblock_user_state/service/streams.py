"""Iterations as lines: each state a line, and from time to time a place to go on from.

Memory holds a page of rows, whatever the number of states.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, TypeVar

import msgspec
from xblock.fields import Scope

from xblock_user_state import conf, wire
from xblock_user_state.clients.base import CheckedClient, LearnerRow, Place
from xblock_user_state.state.change import damaged_state, is_state
from xblock_user_state.state.codec import NotAState, check_state
from xblock_user_state.state.keys import LEARNER_SCOPES
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.users import checked_id

_LOG = logging.getLogger("xblock_user_state.client")
_PIECE = 32 * 1024
STATES = 200
"""States between two places to go on from."""

Row = TypeVar("Row")
Line = wire.StateLine | wire.EntryLine | wire.ResumeLine | wire.EndLine | wire.ProblemLine
_place = msgspec.json.Decoder(tuple[int | str | None, int | str | None])


def iterate_block(client: CheckedClient, call: wire.IterateBlock) -> Iterator[Line]:
    """`iter_all_for_block`."""
    scope, key = call.row.unpack()
    rows = client.iter_rows_for_block(
        key,
        scope,
        call.batch_size,
        using=checked_alias(call.using),
        at_least=_known(call.at_least, scope),
        after=_unpack_place(call.resume, scope),
    )
    return _lines(read_ahead(rows), scope)


def iterate_course(client: CheckedClient, call: wire.IterateCourse) -> Iterator[Line]:
    """`iter_all_for_course`."""
    scope, course = wire.unpack_scope(call.scope), wire.unpack_course(call.course)
    rows = client.iter_rows_for_course(
        course,  # type: ignore[arg-type]  # the message has one
        call.block_type,
        scope,
        call.batch_size,
        using=checked_alias(call.using),
        at_least=_known(call.at_least, scope),
        after=_unpack_place(call.resume, scope),
    )
    return _lines(read_ahead(rows), scope)


def checked_alias(using: str | None) -> str | None:
    """Return a caller's choice of a database: the replica or the primary. Raises ``ValueError`` for all others."""
    allowed = dict.fromkeys(filter(None, (state_database(), conf.replica())))
    if using is not None and using not in allowed:
        raise ValueError(f"using is {using!r}; a caller over HTTP may name {' or '.join(map(repr, allowed))}")
    return using


def chunks(lines: Iterator[Line], problem_of: Callable[[Exception], wire.Problem]) -> Iterator[bytes]:
    """Yield lines in pieces of some kilobytes. The problem of an error in their midst is the last line."""
    piece = bytearray()
    try:
        for line in lines:
            piece += wire.encode(line) + b"\n"
            if len(piece) > _PIECE:
                yield bytes(piece)
                piece.clear()
    except Exception as error:  # noqa: BLE001 (the answer has begun; `problem_of` logs)
        piece += wire.encode(wire.ProblemLine(problem=problem_of(error))) + b"\n"
    yield bytes(piece)


def read_ahead(rows: Iterable[Row]) -> Iterator[Row]:
    """Return the rows. The first is read at once, so that its error is the answer's status."""
    left = iter(rows)
    first = next(left, None)
    return chain([] if first is None else [first], left)


def _lines(rows: Iterable[LearnerRow], scope: Scope) -> Iterator[Line]:
    number, place = 0, None
    for row in rows:
        line = _line(row, scope)
        if line is not None:
            yield line
        number, place = number + 1, row.place
        if place is not None and number % STATES == 0:
            yield wire.ResumeLine(resume=_pack_place(place))
    yield wire.EndLine()


def _line(row: LearnerRow, scope: Scope) -> wire.StateLine | None:
    if not is_state(row.text):
        return None
    try:
        check_state(row.text)
    # As in an iteration of the client: one row must not end it.
    except NotAState as error:
        _LOG.warning("an iteration leaves out a row: %s", damaged_state(row.username, row.block_key, scope, error))
        return None
    return wire.StateLine.of_key(
        scope,
        row.block_key,
        learner=wire.pack_learner(row.username),
        revision=row.revision,
        state=wire.pack_json(row.text),
        updated=row.modified,
    )


def _known(rows: Iterable[wire.KnownRow], scope: Scope) -> dict[Any, int] | None:
    known = {}
    for row in rows:
        of, key = row.unpack()
        if of is not scope:
            raise ValueError(f"at_least names a row of {of.name} in an iteration of {scope.name}")
        known[wire.unpack_learner(row.learner), key] = row.revision
    return known or None


def _pack_place(place: Place) -> str:
    learner = place.learner if place.learner is None or isinstance(place.learner, int) else str(place.learner)
    return msgspec.json.encode((place.key, learner)).decode()


def _unpack_place(token: str | None, scope: Scope) -> Place | None:
    """Return the place of a token. Any place of the right types is harmless: it is one of the rows of the call."""
    if token is None:
        return None
    try:
        key, learner = _place.decode(token)
    except msgspec.DecodeError:
        key, learner = (), None  # type: ignore[assignment]
    if not isinstance(key, _KEY_TYPES[scope]):
        # Of a caller's argument, whose type is right.
        raise ValueError(f"resume is {token[:60]!r}, no place in an iteration of {scope.name}")  # noqa: TRY004
    return Place(key, None if learner is None else checked_id(learner))


_USER_STATE, _PREFERENCES, _USER_INFO, _SUMMARY = LEARNER_SCOPES
_KEY_TYPES: dict[Scope, type] = {_USER_STATE: int, _PREFERENCES: str, _USER_INFO: type(None), _SUMMARY: int}

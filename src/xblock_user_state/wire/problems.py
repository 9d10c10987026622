"""Errors as problems by RFC 9457, and problems as the contract's errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import field

from xblock_user_state import interface
from xblock_user_state.interface import Conflict, ConflictingRow, DamagedHistory, DoesNotExist
from xblock_user_state.state.change import Changes
from xblock_user_state.state.keys import row_key
from xblock_user_state.wire.addresses import Address
from xblock_user_state.wire.rows import Answer


class ConflictingAddress(Address, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A row of a conflict; 0 for a row that should not, or does not, exist."""

    expected: int
    actual: int


class Problem(Answer, frozen=True, kw_only=True):
    """An error by RFC 9457. ``code`` is a class of the contract's errors, or a name of the service's own."""

    type: str
    title: str
    status: int
    detail: str = ""
    code: str
    revision: int | None = None
    """Of the row: for ``DoesNotExist`` and for a ``Conflict`` of one row."""
    rows: list[ConflictingAddress] = field(default_factory=list)


class Kind(NamedTuple):
    """A kind of problem."""

    code: str
    status: int
    title: str
    error: type[Exception]
    """The error that a caller in Python gets."""


_KINDS = (
    Kind("UserDoesNotExist", 404, "No such user", interface.UserDoesNotExist),
    Kind("DoesNotExist", 404, "No such state", DoesNotExist),
    Kind("PermissionDenied", 403, "Not allowed", interface.PermissionDenied),
    Kind("Conflict", 412, "Another revision", Conflict),
    # 4xx: the service is well, and asking again helps as little as with other errors of this range.
    Kind("DamagedState", 409, "Damaged state", interface.DamagedState),
    Kind("DamagedHistory", 409, "Damaged history", DamagedHistory),
    Kind("BlockKeyCollision", 409, "Two blocks with one id", interface.BlockKeyCollision),
    Kind("ServiceUnavailable", 503, "Unavailable", interface.ServiceUnavailable),
    Kind("UserStateError", 500, "Not done", interface.UserStateError),
    Kind("DamagedMessage", 400, "Not a message of this version", ValueError),
    Kind("TypeError", 400, "Wrong type of argument", TypeError),
    Kind("ValueError", 400, "Wrong argument", ValueError),
    # The service's own, which no error of the contract stands for.
    Kind("Unauthorized", 401, "Not authenticated", interface.PermissionDenied),
    Kind("UnknownVersion", 404, "Unknown version", interface.ServiceUnavailable),
    Kind("UnknownPath", 404, "Unknown path", interface.ServiceUnavailable),
    Kind("MethodNotAllowed", 405, "Method not allowed", interface.ServiceUnavailable),
    Kind("RequestTooLarge", 413, "Too large a request", ValueError),
    Kind("AnswerTooLarge", 413, "Too large an answer", ValueError),
    Kind("UnsupportedMedia", 415, "Unsupported type or encoding", interface.ServiceUnavailable),
    Kind("KeyReused", 422, "The key of another request", ValueError),
    Kind("TooManyRequests", 429, "Too many requests", interface.ServiceUnavailable),
    Kind("InternalError", 500, "Internal error", interface.ServiceUnavailable),
    Kind("DeadlinePassed", 504, "Not begun in time", interface.ServiceUnavailable),
)
KINDS: Mapping[str, Kind] = {kind.code: kind for kind in _KINDS}
_TYPES = "https://xblock-user-state.readthedocs.io/en/latest/reference/service.html#"


def problem(code: str, detail: str, **others: Any) -> Problem:
    """Return a problem of one of `KINDS`."""
    kind = KINDS[code]
    return Problem(type=_TYPES + code.lower(), title=kind.title, status=kind.status, detail=detail, code=code, **others)


def problem_of(error: Exception) -> Problem | None:
    """Return the problem of an error of the contract or of arguments; ``None`` for any other."""
    detail = str(error)
    if isinstance(error, Conflict):
        rows = [_pack_conflict(row) for row in error.rows]
        return problem("Conflict", detail, rows=rows, revision=rows[0].actual if len(rows) == 1 else None)
    if isinstance(error, DoesNotExist):
        return problem(_code_of(error), detail, revision=error.revision)
    if isinstance(error, interface.UserStateError | TypeError | ValueError):
        return problem(_code_of(error), detail)
    return None


def _code_of(error: Exception) -> str:
    names = (kind.__name__ for kind in type(error).__mro__)
    return next(name for name in names if name in KINDS)


def _pack_conflict(row: ConflictingRow) -> ConflictingAddress:
    return ConflictingAddress.of_key(row.scope, row.block_key, expected=row.expected, actual=row.actual)


def error_of(found: Problem, changes: Changes | None = None) -> Exception:
    """Return the error of a problem. A `Conflict` names the caller's own keys, which the call's `changes` have."""
    kind = KINDS.get(found.code)
    if kind is None:
        # A newer service may have more kinds.
        kind = KINDS["InternalError"] if found.status >= 500 else KINDS["UnknownPath"]
    detail = found.detail or found.title
    if kind.error is Conflict:
        return Conflict(detail, rows=[_unpack_conflict(row, changes or {}) for row in found.rows])
    error = kind.error(detail)
    if isinstance(error, DoesNotExist):
        error.revision = found.revision or 0
    return error


def _unpack_conflict(row: ConflictingAddress, changes: Changes) -> ConflictingRow:
    scope, key = row.unpack()
    change = changes.get(scope, {}).get(row_key(key, scope))
    callers = change.condition.block_key if change and change.condition else key
    return ConflictingRow(scope, callers, row.expected, row.actual)

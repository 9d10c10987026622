"""Metrics of client calls. Reads are reported at once, writes only after their commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from django.db import connections, transaction
from xblock.fields import Scope

from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import elapsed, reporter
from xblock_user_state.metrics.reporter import Reporter
from xblock_user_state.state.change import DELETED, Change, Changes, Overlay, Removal, Row, is_state
from xblock_user_state.state.codec import NotAState, split
from xblock_user_state.state.keys import RowKey

Written = Mapping[Scope, Mapping[RowKey, tuple[Row | None, Row]]]
"""The rows that a call has changed: before (``None`` for a new row) and after."""


def report_read(since: float, scope: Scope, rows: Iterable[RowKey], texts: Mapping[RowKey, str | None]) -> None:
    """Report a `get_many`: the row of each key, and the texts of the rows that exist."""
    to = reporter()
    if to is None:
        return
    to.record(names.GET_MANY_RESPONSE_TIME, elapsed(since), scope.name)
    requested = [texts.get(row) for row in rows]
    to.record(names.GET_MANY_BLKS_REQUESTED, len(requested), scope.name)
    to.record(names.GET_MANY_BLKS_OUT, sum(map(is_state, requested)), scope.name)
    to.count(names.GET_MANY_EMPTY_STATE, sum(text is None for text in texts.values()), scope.name)
    for text in texts.values():
        if text is not None:
            to.record(names.GET_MANY_BLOCK_SIZE, len(text), scope.name)


def report_write(database: str, operation: str, changes: Changes, written: Written, since: float) -> None:
    """Report a call that writes, after its commit. The response time ends with this call."""
    _after_commit(database, partial(_report_write, operation, _Call(changes, written, elapsed(since))))


def report_history(database: str, store: str, bodies: Iterable[bytes | None]) -> None:
    """Report the bytes of history entries, after their commit."""
    written = sum(len(body or b"") for body in bodies)
    _after_commit(database, partial(_report_history, written, store))


def _report_history(written: int, store: str) -> None:
    to = reporter()
    if to is not None:
        to.count(names.HISTORY_BYTES, written, store)


def _after_commit(database: str, report: Callable[[], Any]) -> None:
    # A function, not a partial: Django logs the name of a callback that raises.
    def report_committed() -> None:
        report()

    connection = connections[database]
    # Django has no callback for a caller that commits by hand, outside of atomic().
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(report_committed, using=database, robust=True)


class _Call(NamedTuple):
    """One call that writes: the changes it asked for, the rows it changed, and its duration."""

    changes: Changes
    written: Written
    milliseconds: float

    @property
    def blocks(self) -> int:
        """The number of changed rows in all scopes."""
        return sum(map(len, self.written.values()))


def _report_write(operation: str, call: _Call) -> None:
    to = reporter()
    if to is None:
        return
    _OPERATIONS[operation](to, call)
    for scope, rows in call.written.items():
        # The codec writes ASCII: one byte a character.
        to.count(names.STATE_BYTES, sum(len(after.text or "") for _, after in rows.values()), operation, scope.name)


def _report_set_many(to: Reporter, call: _Call) -> None:
    for scope, changes in call.changes.items():
        rows = call.written.get(scope, {})
        created = sum(before is None for before, _ in rows.values())
        to.count(names.SET_MANY_STATE_CREATED, created, scope.name)
        to.count(names.SET_MANY_STATE_UPDATED, len(rows) - created, scope.name)
        for key, change in changes.items():
            _report_fields(to, scope, change, rows.get(key))
        to.record(names.SET_MANY_BLKS_UPDATED, len(rows), scope.name)
        to.record(names.SET_MANY_RESPONSE_TIME, call.milliseconds, scope.name)


def _report_fields(to: Reporter, scope: Scope, change: Change, row: tuple[Row | None, Row] | None) -> None:
    fields = {name: text for edit in change.edits if isinstance(edit, Overlay) for name, text in edit.fields.items()}
    to.record(names.SET_MANY_FIELDS_IN, len(fields), scope.name)
    if row is None:
        return
    # Raw JSON texts: the store compares texts too, so 1 and 1.0 differ.
    try:
        before = split(row[0].text or DELETED) if row[0] else {}
    # The write has replaced a text that was no state.
    except NotAState:
        before = {}
    updated = sum(bytes(text) != bytes(before[name]) for name, text in fields.items() if name in before)
    to.record(names.SET_MANY_FIELDS_SET, len(fields.keys() - before.keys()), scope.name)
    to.record(names.SET_MANY_FIELDS_UPDATED, updated, scope.name)


def _report_delete_many(to: Reporter, call: _Call) -> None:
    for scope, changes in call.changes.items():
        for removal in _removals(changes):
            if removal.fields is None:
                to.count(names.DELETE_MANY_EMPTY_STATE, 1, scope.name)
            else:
                to.record(names.DELETE_MANY_FIELD_COUNT, len(removal.fields), scope.name)
        to.record(names.DELETE_MANY_BLOCK_COUNT, len(changes), scope.name)
        to.record(names.DELETE_MANY_BLKS_UPDATED, call.blocks, scope.name)
        to.record(names.DELETE_MANY_RESPONSE_TIME, call.milliseconds, scope.name)


def _removals(changes: Mapping[RowKey, Change]) -> Iterator[Removal]:
    """Yield the removal that all changes of a `delete_many` share; nothing if the call named no blocks."""
    for change in islice(changes.values(), 1):
        yield from (edit for edit in change.edits if isinstance(edit, Removal))


def _report_set_score(to: Reporter, call: _Call) -> None:
    to.record(names.SET_SCORE_BLKS_UPDATED, call.blocks)
    to.record(names.SET_SCORE_RESPONSE_TIME, call.milliseconds)


def _report_batch(to: Reporter, call: _Call) -> None:
    to.record(names.BATCH_BLKS_UPDATED, call.blocks)
    to.record(names.BATCH_RESPONSE_TIME, call.milliseconds)


def _report_replace(to: Reporter, call: _Call) -> None:
    to.record(names.REPLACE_BLKS_UPDATED, call.blocks)
    to.record(names.REPLACE_RESPONSE_TIME, call.milliseconds)


def _report_save(to: Reporter, call: _Call) -> None:
    to.record(names.SAVE_BLKS_UPDATED, call.blocks)
    to.record(names.SAVE_RESPONSE_TIME, call.milliseconds)


_OPERATIONS = {
    "set_many": _report_set_many,
    "delete_many": _report_delete_many,
    "set_score": _report_set_score,
    "batch": _report_batch,
    "replace": _report_replace,
    "save": _report_save,
}

"""Notes the rows that the serving store has written, and has them copied to the other one.

A copy is made after the commit of the write, or at the end of the request, in a transaction of its own; but that of a
row which is created at `lead` through the platform's model is made at once, for its id. A failure is logged and counted
and never reaches the learner: the row differs until its next write, and ``manage.py compare_openedx`` finds it.

A row is copied as it is, under a lock of the platform's row, so two requests can't leave an older copy behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import Error, connections, transaction
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.outbox.breaker import Breaker
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.interface import ServiceUnavailable, UserId
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count
from xblock_user_state.openedx.platform import copying, differences, old_rows
from xblock_user_state.openedx.platform.copying import Step
from xblock_user_state.openedx.platform.old_rows import Address
from xblock_user_state.openedx.platform.served_table import is_on_the_platforms_tables, on_the_platforms_tables
from xblock_user_state.openedx.platform.stages import Stage, held, models_are_served_here, site_stage, stage_of
from xblock_user_state.state.change import Changes, WrittenRows
from xblock_user_state.state.keys import canonical_key, row_key
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.dialects import Failure, dialect_of
from xblock_user_state.store.tables import TABLES
from xblock_user_state.store.transactions import repeat

_LOG = logging.getLogger("xblock_user_state.openedx")


@dataclass
class _Noted:
    """Rows to copy, in the order of their first write."""

    here: dict[Address, list[Step]] = field(default_factory=dict)
    """Rows that the platform has written, with the steps that make the same change here."""
    there: dict[Address, None] = field(default_factory=dict)
    """Rows that this store has written."""


HERE = Breaker(
    failure="this store's database can't be written to; rows of the platform are not copied",
    recovery="this store's database can be written to again",
)
"""At `shadow` this store must not slow the platform down: a row that is not copied differs until its next write."""

SECONDS = 5.0
"""The time that a row's copy to this store may take at `shadow`. It holds the lock of the platform's row."""

_NOTED: ContextVar[_Noted | None] = ContextVar("xblock_user_state_openedx_noted", default=None)


@contextmanager
def flushed_at_the_end() -> Iterator[None]:
    """Collect the rows that a request writes, and copy them when the ``with`` block ends: one change a row.

    The stage stays as it is meanwhile.
    """
    if _NOTED.get() is not None:
        yield
        return
    noted = _Noted()
    token = _NOTED.set(noted)
    with held():
        try:
            yield
        finally:
            _NOTED.reset(token)
            _flush(noted)


def stage_of_row(address: Address) -> Stage:
    """Return the stage of a row: its course's, or the site's."""
    if address.scope in (Scope.user_state, Scope.user_state_summary):
        key: Any = canonical_key(address.row)
        return stage_of(key.context_key)
    return site_stage()


def address_of_block(usage_key: UsageKey, student_id: Any) -> Address:
    """Return the address of a learner's state in a block."""
    return Address(Scope.user_state, row_key(usage_key, Scope.user_state), getattr(student_id, "pk", student_id))


def written_by_the_platform(find: Callable[[], Address], *steps: Step) -> None:
    """Note that the platform has written the row that `find` returns; `steps` make the same change here.

    Without steps the row is copied as it is.
    """

    def note(noted: _Noted, address: Address) -> None:
        noted.here.setdefault(address, []).extend(steps)

    _note(find, note, in_our_database=False)


def written_here(find: Callable[[], Address]) -> None:
    """Note that this store has written the row that `find` returns."""

    def note(noted: _Noted, address: Address) -> None:
        noted.there[address] = None

    _note(find, note, in_our_database=True)


def _note(find: Callable[[], Address], note: Callable[[_Noted, Address], None], in_our_database: bool) -> None:
    # Outside of a request the stage may have changed since the write began. A copy is no write to be copied back.
    if not site_stage().has_copies or is_on_the_platforms_tables():
        return
    try:
        address = find()
        stage = stage_of_row(address)
    except (TypeError, ValueError):
        # A key that this store refuses. `find` has read it from the platform's row.
        count(names.OPENEDX_COPIES_FAILED, 1, "unknown")
        _LOG.exception("a row of the platform has a key that this store can't keep")
        return
    if not stage.has_copies:
        return

    def committed() -> None:
        noted = _NOTED.get()
        # Where pages work on one store and models on the other, the second must see the write at once: else a request
        # that writes a row through both would copy the one over the other.
        if noted is not None and (stage is Stage.SHADOW or models_are_served_here()):
            note(noted, address)
            return
        alone = _Noted()
        note(alone, address)
        _flush(alone)

    using = state_database() if in_our_database else old_rows.database_of(address.scope)
    transaction.on_commit(committed, using=using)


class MirroringClient(DjangoXBlockUserStateClient):
    """The client of the platform. Its writes go to the platform's tables too, unless this store is alone."""

    def _write(self, username: str | UserId, changes: Changes, operation: str) -> WrittenRows:
        written = super()._write(username, changes, operation)
        for scope, rows in changes.items():
            student_id = self._user_id(username) if TABLES[scope].owned else None
            for row in rows:
                written_here(partial(Address, scope, row, student_id))
        return written


def _flush(noted: _Noted) -> None:
    for address, steps in noted.here.items():
        _copy_here(address, steps)
    for address in noted.there:
        _attempt(address, "the platform's tables", partial(copying.copy_there, address))


def _copy_here(address: Address, steps: Collection[Step]) -> None:
    """Copy a row to this store, unless its database has just failed: then few requests wait for it."""
    if not HERE.lets_through():
        count(names.OPENEDX_COPIES_FAILED, 1, address.scope.name)
        return
    error = _attempt(address, "this store", partial(_copied_in_time, address, [*steps]))
    if error is None or not _is_down(error):
        HERE.succeeded()
        return
    HERE.failed(error)
    connection = connections[state_database()]
    # The next copy makes a new connection. A task has no end of a request, at which Django would close a broken one.
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _copied_in_time(address: Address, steps: Sequence[Step]) -> Collection[str]:
    """Copy a row. In a database apart from the platform's, a statement that is late loses its connection."""
    own = state_database()
    is_apart = own != old_rows.database_of(address.scope)
    with answer_expected(own, SECONDS) if is_apart else nullcontext():
        return copying.copy_here(address, steps)


def _is_down(error: Exception) -> bool:
    """Tell whether this store's database can't serve; the platform's may be of another vendor."""
    connection: Any = connections[state_database()]
    if not isinstance(error, Error) or not isinstance(error.__cause__, connection.Database.Error):
        return False
    return dialect_of(connection).failure(error) is Failure.UNAVAILABLE


def _attempt(address: Address, target: str, copy: Callable[[], Collection[str]]) -> Exception | None:
    """Copy a row and list what differed; return the error for which it was not copied. Never raises one of a store."""
    try:
        with on_the_platforms_tables():
            # A row that is not there can't be locked. The copy that loses the race for it, perhaps the newer one, is
            # repeated.
            differing = repeat(old_rows.database_of(address.scope), partial(_with_the_databases_errors, copy))
    except Exception as error:  # noqa: BLE001 (see below)
        # The store that serves has committed. Whatever is wrong with the other one must not reach the learner.
        count(names.OPENEDX_COPIES_FAILED, 1, address.scope.name)
        _LOG.exception("%s of learner %s was not copied to %s", canonical_key(address.row), address.student_id, target)
        return error
    # Outside of the transaction, which holds the lock of a learner's row.
    differences.note(address, differing)
    return None


def _with_the_databases_errors(copy: Callable[[], Collection[str]]) -> Collection[str]:
    """Make a copy; raise the error of the database for ours, so that a deadlock is known as one."""
    try:
        return copy()
    except ServiceUnavailable as error:
        cause = error.__cause__
        if isinstance(cause, Error):
            # It keeps the driver's error as its cause, by which dialects know a deadlock.
            raise cause from cause.__cause__
        raise


def learner_deleted(student_id: Any) -> None:
    """Delete the rows of a learner, who is gone in this store, in the platform's tables, with what refers to them."""
    try:
        with on_the_platforms_tables():
            for scope in (scope for scope in old_rows.MODELS if TABLES[scope].owned):
                old_rows.model_of(scope)._base_manager.filter(student_id=student_id).delete()
    except Exception:  # noqa: BLE001 (as in `_attempt`)
        count(names.OPENEDX_COPIES_FAILED, 1, Scope.user_state.name)
        _LOG.exception("the rows of learner %s were not deleted in the platform's tables", student_id)


def copy_there_now(address: Address) -> bool:
    """Make the platform's rows equal to this store's row; return whether that went well. The log has the reason.

    In a caller's transaction of the platform's database the copy is a part of it.
    """
    return _attempt(address, "the platform's tables", partial(copying.copy_there, address)) is None

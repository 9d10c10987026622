"""The client for a visitor: somebody who is not logged in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.clients import arguments
from xblock_user_state.clients.base import Changes, ChangeWriter
from xblock_user_state.ephemeral.entry import Place, Rows, VisitorEntry
from xblock_user_state.interface import (
    Batch,
    BlockKey,
    BlockScore,
    DoesNotExist,
    HistoryEntry,
    PermissionDenied,
    XBlockUserState,
    XBlockUserStateClient,
)
from xblock_user_state.state.change import Row, clock, existing_state
from xblock_user_state.state.codec import encode_fields, join
from xblock_user_state.state.keys import LEARNER_SCOPES, RowKey, canonical_key, row_key

A_DAY = 24 * 60 * 60
HALF_A_MEGABYTE = 512 * 1024

SCOPES = {scope.name: scope for scope in LEARNER_SCOPES}
SUMMARY = Scope.user_state_summary.name


class EphemeralXBlockUserStateClient(ChangeWriter):
    """Keeps the state of one visitor, who has no name (``""`` or ``None``), in Django's cache until it expires.

    What all learners share (``user_state_summary``) is read from the `shared` client, and never written there: nobody
    could tell how many visitors one person is. A visitor who changes it sees a copy of their own from then on.

    There is no history (``get_history`` raises `DoesNotExist`), and a visitor may not iterate over learners
    (`PermissionDenied`). A cache may lose what it holds at any time. Concurrent requests of one visitor take turns, see
    `xblock_user_state.ephemeral.entry` for what that takes. Round trips: 1 for a read, 6 for a write, beside those of
    the `shared` client.
    """

    def __init__(
        self,
        visitor: str,
        shared: XBlockUserStateClient,
        *,
        cache: str = "default",
        timeout: int = A_DAY,
        max_bytes: int = HALF_A_MEGABYTE,
    ) -> None:
        """`visitor` is from `visitor_id`: who knows it has the state. `timeout` is in seconds after the last change.

        A change that would make the state larger than `max_bytes` is `PermissionDenied`. Memcached takes no entry of
        more than a megabyte, unless it is told to, and drops it.
        """
        self._entry = VisitorEntry(visitor, cache, timeout, max_bytes)
        self._shared = shared

    def get_many(
        self,
        username: str | None,
        block_keys: Iterable[BlockKey],
        scope: Scope = Scope.user_state,
        fields: Collection[str] | None = None,
    ) -> Iterator[XBlockUserState]:
        """Yield the states of the blocks that have one, in the order asked for."""
        scope = arguments.checked_scope(scope)
        _check_visitor(username)
        keys = arguments.row_keys(block_keys, scope)
        return self._get_many(username, keys, scope, arguments.checked_fields(fields))

    def _get_many(
        self,
        username: str | None,
        keys: Collection[tuple[BlockKey, RowKey]],
        scope: Scope,
        fields: tuple[str, ...] | None,
    ) -> Iterator[XBlockUserState]:
        rows = self._entry.rows() if keys else {}
        shared = {}
        if scope == Scope.user_state_summary:
            others = [key for key, asked in keys if (scope.name, asked) not in rows]
            shared = {found.block_key: found for found in self._shared.get_many(username, others, scope, fields)}
        for key, asked in keys:
            row = rows.get((scope.name, asked))
            state = existing_state(row.text, fields) if row else None
            if row and state is not None:
                yield XBlockUserState(username, key, state, row.modified, scope)
            elif key in shared:
                yield shared[key]

    def get_history(
        self,
        username: str | None,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        limit: int | None = None,
        before_revision: int | None = None,
    ) -> Iterator[HistoryEntry]:
        """Raise `DoesNotExist` at the first ``next``: of visitors no history is kept."""
        scope = arguments.checked_scope(scope)
        _check_visitor(username)
        row_key(block_key, scope)
        arguments.checked_window(limit, before_revision)
        return _no_history(block_key, scope)

    def iter_all_for_block(
        self, block_key: BlockKey, scope: Scope = Scope.user_state, batch_size: int | None = None
    ) -> Iterator[XBlockUserState]:
        """Raise `PermissionDenied`: what others did is not for visitors."""
        row_key(block_key, arguments.checked_scope(scope))
        arguments.checked_batch_size(batch_size)
        raise PermissionDenied("a visitor may not read the state of all learners")

    def iter_all_for_course(
        self,
        course_key: LearningContextKey,
        block_type: str | None = None,
        scope: Scope = Scope.user_state,
        batch_size: int | None = None,
    ) -> Iterator[XBlockUserState]:
        """Raise `PermissionDenied`: what others did is not for visitors."""
        arguments.checked_course_scope(scope)
        arguments.checked_course(course_key)
        arguments.checked_block_type(block_type)
        arguments.checked_batch_size(batch_size)
        raise PermissionDenied("a visitor may not read the state of all learners")

    def get_scores(self, username: str | None, block_keys: Iterable[UsageKey]) -> dict[UsageKey, BlockScore]:
        """Return the scores of those blocks that have one."""
        _check_visitor(username)
        keys = arguments.row_keys(block_keys, Scope.user_state)
        rows = self._entry.rows()
        found = ((key, rows.get((Scope.user_state.name, asked))) for key, asked in keys)
        return {key: row.score for key, row in found if row is not None and row.score is not None}

    def adopt_into(self, client: XBlockUserStateClient, username: str) -> None:
        """Move this visitor's states and scores into the account of a learner who has just logged in.

        Where the account has anything yet, or gets it in the same moment, that stays, whole. All is committed in one
        change, with one history entry a block; then the visitor's state is gone, and what an open page of theirs still
        sends is `PermissionDenied`. Until then nothing is removed, and a call may be repeated at any time: what was
        moved is moved once. Call it outside of transactions, for a rollback would come too late; `adopt_visitor` sees
        to that.

        A block whose shared state the visitor changed is left out, because that was never counted: its poll would say
        that they had voted.
        """

        def take(rows: Rows) -> None:
            with client.batch(username, only_new=True) as batch:
                for place, row in rows.items():
                    if (SUMMARY, place[1]) not in rows:
                        _add(batch, place, row)

        self._entry.hand_over(take)

    def _write(self, username: str | None, changes: Changes, operation: str) -> None:
        _check_visitor(username)
        if any(changes.values()):
            self._entry.change(lambda rows: {**rows, **self._changed(rows, changes)})

    def _changed(self, rows: Rows, changes: Changes) -> dict[Place, Row]:
        now = clock()
        old = {**self._shared_rows(rows, changes.get(Scope.user_state_summary, {})), **rows}
        return {
            (scope.name, key): row
            for scope, by_key in changes.items()
            for key, change in by_key.items()
            if (row := change.apply(old.get((scope.name, key)), now)) is not None
        }

    def _shared_rows(self, rows: Rows, summary_keys: Iterable[RowKey]) -> Rows:
        """Return what is there for a visitor's copies to begin with."""
        keys = {canonical_key(key): key for key in summary_keys if (SUMMARY, key) not in rows}
        if not keys:
            return {}
        return {
            (SUMMARY, keys[found.block_key]): _row_of(found)
            for found in self._shared.get_many(None, list(keys), Scope.user_state_summary)
        }


def _check_visitor(username: str | None) -> None:
    if arguments.checked_username(username):
        raise PermissionDenied(f"this store keeps the state of a visitor without a name, and nothing of {username!r}")


def _no_history(block_key: BlockKey, scope: Scope) -> Iterator[HistoryEntry]:
    yield from ()
    raise DoesNotExist(f"no history of a visitor in {block_key} ({scope.name}) is kept")


def _row_of(shared: XBlockUserState) -> Row:
    text = join(encode_fields(shared.state or {}, shared.block_key))
    return Row(1, text, None, None, created=shared.updated, modified=shared.updated)


def _add(batch: Batch, place: Place, row: Row) -> None:
    """Add what a row holds to a batch; state that was deleted is none."""
    scope, key = SCOPES[place[0]], canonical_key(place[1])
    batch.set(key, existing_state(row.text) or {}, scope)
    if row.score is not None and isinstance(key, UsageKey):
        batch.set_score(key, row.score.grade, row.score.max_grade)

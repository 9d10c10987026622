"""The client for a visitor: somebody who is not logged in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.clients.base import CheckedClient, LearnerRow, RecordedState, Source
from xblock_user_state.ephemeral.entry import RowAddress, Rows, VisitorEntry
from xblock_user_state.interface import (
    Batch,
    DoesNotExist,
    PermissionDenied,
    UserId,
    XBlockUserState,
    XBlockUserStateClient,
)
from xblock_user_state.state.change import Changes, Row, WrittenRows, check_conditions, clock, existing_state
from xblock_user_state.state.codec import encode_fields, join
from xblock_user_state.state.keys import LEARNER_SCOPES, BlockId, RowKey, canonical_key, identify_context

A_DAY = 24 * 60 * 60
HALF_A_MEGABYTE = 512 * 1024

# The cache pickles rows' addresses, and an unpickled scope is another object: names stand for scopes.
SCOPES = {scope.name: scope for scope in LEARNER_SCOPES}
SUMMARY = Scope.user_state_summary.name


class EphemeralXBlockUserStateClient(CheckedClient):
    """Keeps the state of one visitor in Django's cache until it expires. A visitor's username is ``""`` or ``None``.

    Any other username, and a `UserId`, is `PermissionDenied`.

    State that all learners share (``user_state_summary``) is read from the `shared` client and never written there,
    because nobody can tell how many visitors one person is. A visitor who changes it sees their own copy from then on.

    Visitors have no history (``get_history`` raises `DoesNotExist`) and may not iterate over learners
    (`PermissionDenied`). A cache may lose its content at any time. Concurrent requests of one visitor take turns;
    `xblock_user_state.ephemeral.entry` says what the cache must offer for that. Round trips: 1 for a read, 6 for a
    write, beside those of the `shared` client.
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
        """`visitor` is from `visitor_id`; anybody who knows it can read the state.

        `timeout` is in seconds after the last change. A change that would make the state larger than `max_bytes` is
        `PermissionDenied`. By default Memcached silently drops entries of more than a megabyte.
        """
        self._entry = VisitorEntry(visitor, cache, timeout, max_bytes)
        self._shared = shared

    def adopt_into(self, client: XBlockUserStateClient, username: str) -> None:
        """Move this visitor's states and scores into the account of a learner who has just logged in.

        A row that the account has already, or gets in the same moment, stays as it is. All other rows are committed in
        one change, with one history entry a block. Then the visitor's state is gone, and later writes of a page that is
        still open are `PermissionDenied`. Nothing is removed before the commit, and a call may be repeated at any time
        without moving a row twice. Call it outside of transactions, because a later rollback would lose the rows;
        `adopt_visitor` takes care of that.

        A block whose shared state the visitor changed is left out, because their change was never counted: the poll
        would say that they had voted.
        """

        def take(rows: Rows) -> None:
            with client.batch(username, only_new=True) as batch:
                for address, row in rows.items():
                    # Their change of the shared state was never counted.
                    if (SUMMARY, address[1]) not in rows:
                        _add(batch, address, row)

        self._entry.hand_over(take)

    def forget(self) -> None:
        """Remove this visitor's states and scores. Later writes of a page that is still open are `PermissionDenied`."""
        self._entry.hand_over(lambda _: None)

    def _checked_name(self, username: object) -> str | UserId:
        name = super()._checked_name(username)
        if name:
            raise PermissionDenied(f"this store keeps the state of a visitor without a name, and nothing of {name!r}")
        return name

    def _rows(self, username: str | UserId, keys: Sequence[RowKey], scope: Scope) -> Mapping[RowKey, Row]:
        # A call without keys costs no round trip.
        rows = self._entry.rows() if keys else {}
        own = {key: rows[scope.name, key] for key in keys if (scope.name, key) in rows}
        if scope != Scope.user_state_summary:
            return own
        return {**self._shared_rows(key for key in keys if key not in own), **own}

    def _history(
        self, username: str | UserId, block: BlockId, limit: int | None, before_revision: int | None
    ) -> Iterator[RecordedState]:
        yield from ()
        raise DoesNotExist(f"no history of a visitor in {canonical_key(block)} is kept")

    def _all_of_block(self, key: RowKey, scope: Scope, batch_size: int, source: Source) -> Iterator[LearnerRow]:
        raise PermissionDenied("a visitor may not read the state of all learners")

    def _all_of_course(
        self, course_key: LearningContextKey, block_type: str | None, scope: Scope, batch_size: int, source: Source
    ) -> Iterator[LearnerRow]:
        raise PermissionDenied("a visitor may not read the state of all learners")

    def _find_blocks(self, text: str) -> Iterable[UsageKey]:
        # A visitor's writes register no block.
        return self._shared.find_blocks(UsageKey.from_string(text))

    def _latest(
        self, username: str | UserId, limit: int, course_key: LearningContextKey | None
    ) -> Iterator[LearnerRow]:
        context_id = None if course_key is None else identify_context(course_key)
        found = [
            (key, row)
            for (scope, key), row in self._entry.rows().items()
            if scope == Scope.user_state.name and isinstance(key, BlockId) and context_id in (None, key.context_id)
        ]
        found.sort(key=lambda item: (item[1].modified, -item[0].id), reverse=True)
        for key, row in found[:limit]:
            yield LearnerRow(None, canonical_key(key), row.text, row.modified, row.revision)

    def _write(self, username: str | UserId, changes: Changes, operation: str) -> WrittenRows:
        # A call without changes costs no round trip, and does not wait for the lock.
        if not any(changes.values()):
            return {}
        rows = self._entry.change(lambda rows: {**rows, **self._changed(rows, changes)})
        return {
            scope: {key: rows[scope.name, key] for key in by_key if (scope.name, key) in rows}
            for scope, by_key in changes.items()
        }

    def _changed(self, rows: Rows, changes: Changes) -> dict[RowAddress, Row]:
        now = clock()
        summaries = (key for key in changes.get(Scope.user_state_summary, {}) if (SUMMARY, key) not in rows)
        # A visitor's copy of shared state starts from the shared row.
        old = {**rows, **{(SUMMARY, key): row for key, row in self._shared_rows(summaries).items()}}
        check_conditions(changes, lambda scope, key: old.get((scope.name, key)))
        return {
            (scope.name, key): row
            for scope, by_key in changes.items()
            for key, change in by_key.items()
            if (row := change.apply(old.get((scope.name, key)), now)) is not None
        }

    def _shared_rows(self, keys: Iterable[RowKey]) -> dict[RowKey, Row]:
        """Return the summary rows of the shared client. Asks it nothing for no keys."""
        asked = {canonical_key(key): key for key in keys}
        if not asked:
            return {}
        found = self._shared.get_many(None, list(asked), Scope.user_state_summary)
        return {asked[each.block_key]: _row_of(each) for each in found}


def _row_of(shared: XBlockUserState) -> Row:
    text = join(encode_fields(shared.state or {}, shared.block_key))
    # The copy goes on from the shared revision, which the visitor has read. Another make of client may have none.
    return Row(shared.revision or 1, text, None, None, created=shared.updated, modified=shared.updated)


def _add(batch: Batch, address: RowAddress, row: Row) -> None:
    """Add a row's state and score to a batch; deleted state adds nothing."""
    scope, key = SCOPES[address[0]], canonical_key(address[1])
    # An empty overlay changes nothing, so a score alone creates no state.
    batch.set(key, existing_state(row.text) or {}, scope)
    if row.score is not None and isinstance(key, UsageKey):
        batch.set_score(key, row.score.grade, row.score.max_grade)

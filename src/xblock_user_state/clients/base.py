"""The base class of all clients: it checks arguments and makes results, so that a client only moves rows."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple

from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.access import Action
from xblock_user_state.clients import arguments
from xblock_user_state.clients.asking import Asker
from xblock_user_state.clients.batch import ChangeSet
from xblock_user_state.interface import (
    BlockKey,
    BlockScore,
    DamagedHistory,
    DoesNotExist,
    EncodedState,
    HistoryEntry,
    Learner,
    PermissionDenied,
    State,
    UserId,
    XBlockUserState,
    XBlockUserStateClient,
)
from xblock_user_state.state.change import Changes, Row, WrittenRows, damaged_state, existing_state, is_state
from xblock_user_state.state.codec import NotAState
from xblock_user_state.state.keys import (
    BlockId,
    RowKey,
    checked_block,
    context_of,
    find_text,
    row_key,
)

_LOG = logging.getLogger("xblock_user_state.client")


class LearnerRow(NamedTuple):
    """A row of an iteration, with its learner (``None`` for a shared row) and its block's canonical key."""

    username: str | None
    block_key: BlockKey
    text: str | None
    modified: datetime
    revision: int
    place: Place | None = None
    """The row's place in the iteration, from a client that can go on from it."""


class Place(NamedTuple):
    """The place of a row in an iteration, in the client's own terms: a later iteration of the same can go on there."""

    key: Any
    learner: Any


class Source(NamedTuple):
    """The database that an iteration may read, the revisions that it must have there, and the place to go on from."""

    using: str | None = None
    """An alias; ``None`` leaves the choice to the settings."""
    known: Sequence[arguments.Known] = ()
    after: Place | None = None


class RecordedState(NamedTuple):
    """A revision of the history. If the entry can't be read, a `DamagedHistory` stands in the place of the state."""

    revision: int
    state: State | DamagedHistory | None
    updated: datetime
    score: BlockScore | None
    actor: str | None = None
    archived: bool = False


# A call without rows is a question about the learner too.
_NO_ROWS: Mapping[Scope, Mapping[RowKey, Any]] = {Scope.user_state: {}}


class CheckedClient(XBlockUserStateClient):
    """Implements the contract over a few verbs, which a subclass implements.

    The verbs get checked arguments: a username is a `UserId` or a string, empty for an anonymous user; keys are row
    keys; scopes are the package's own objects. `_history` and the iterations may read lazily.

    Each method asks the policy after it has checked its arguments, and before any verb.
    """

    _asker = Asker()

    @abstractmethod
    def _rows(self, username: str | UserId, keys: Sequence[RowKey], scope: Scope) -> Mapping[RowKey, Row]:
        """Return the rows that exist. A key is repeated where the caller gave two keys of one block.

        Of a row this class uses the revision, the text, the score and ``modified``.
        """

    @abstractmethod
    def _history(
        self, username: str | UserId, block: BlockId, limit: int | None, before_revision: int | None
    ) -> Iterable[RecordedState]:
        """Return the history of one block, newest first: at most `limit` entries older than `before_revision`."""

    @abstractmethod
    def _all_of_block(self, key: RowKey, scope: Scope, batch_size: int, source: Source) -> Iterable[LearnerRow]:
        """Return the rows of all learners in one block, holding at most `batch_size` at a time."""

    @abstractmethod
    def _all_of_course(
        self, course_key: LearningContextKey, block_type: str | None, scope: Scope, batch_size: int, source: Source
    ) -> Iterable[LearnerRow]:
        """Return the rows of all learners in the blocks of a course, or in its blocks of one type."""

    @abstractmethod
    def _find_blocks(self, text: str) -> Iterable[UsageKey]:
        """Return the canonical keys of the registered blocks whose usage key has this text, in any course, by id."""

    @abstractmethod
    def _latest(
        self, username: str | UserId, limit: int, course_key: LearningContextKey | None
    ) -> Iterable[LearnerRow]:
        """Return a learner's rows of blocks that were changed last, newest first, or those in one context."""

    @abstractmethod
    def _write(self, username: str | UserId, changes: Changes, operation: str) -> WrittenRows:
        """Commit all changes, or none and raise; return the rows after it.

        Metrics are named after `operation`, the method that was called.
        """

    def _rows_of_scopes(
        self, username: str | UserId, keys: Mapping[Scope, Sequence[RowKey]]
    ) -> Mapping[Scope, Mapping[RowKey, Row]]:
        """Return the rows that exist, by scope. A client may override it to read several scopes at once."""
        return {scope: self._rows(username, of_scope, scope) for scope, of_scope in keys.items()}

    def _locked(
        self, username: str | UserId, rows: Mapping[Scope, Collection[RowKey]]
    ) -> AbstractContextManager[object]:
        """Return a context that keeps other writers from these rows. A client without locks does not override it."""
        return nullcontext()

    def _scores(self, username: str | UserId, keys: Sequence[RowKey]) -> Mapping[RowKey, BlockScore]:
        """Return the scores that exist. A client may override it to read no states."""
        rows = self._rows(username, keys, Scope.user_state)
        return {key: row.score for key, row in rows.items() if row.score is not None}

    def _checked_name(self, username: object) -> str | UserId:
        """Return the username for the verbs. A client may override it to refuse learners that it does not serve."""
        return arguments.checked_username(username)

    def get(
        self,
        username: Learner,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        fields: Collection[str] | None = None,
    ) -> XBlockUserState:
        """Return the state of one block, with only `fields` when given."""
        scope = arguments.checked_scope(scope)
        name = self._checked_name(username)
        asked = row_key(block_key, scope)
        names = arguments.checked_fields(fields)
        self._asker.rows(Action.READ, name, scope, [asked])
        row = self._rows(name, [asked], scope).get(asked)
        state = _state_in(row, names, username, block_key, scope) if row else None
        if row and state is not None:
            return XBlockUserState(username, block_key, state, row.modified, scope, row.revision)
        error = DoesNotExist(f"{username!r} has no state in {block_key} ({scope.name})")
        error.revision = row.revision if row else 0
        raise error

    def get_many(
        self,
        username: Learner,
        block_keys: Iterable[BlockKey],
        scope: Scope = Scope.user_state,
        fields: Collection[str] | None = None,
    ) -> Iterator[XBlockUserState]:
        """Yield the states of the blocks that have one, in the order asked for, each key once.

        Arguments are checked at the call; the rows are read at the first ``next``, all at once.
        """
        scope = arguments.checked_scope(scope)
        name = self._checked_name(username)
        keys = arguments.row_keys(block_keys, scope)
        names = arguments.checked_fields(fields)
        self._asker.rows(Action.READ, name, scope, (row for _, row in keys))

        # Inside, because a generator would check its arguments only at the first next.
        def states() -> Iterator[XBlockUserState]:
            rows = self._rows(name, [row for _, row in keys], scope)
            for key, asked in keys:
                row = rows.get(asked)
                state = _state_in(row, names, username, key, scope) if row else None
                if row and state is not None:
                    yield XBlockUserState(username, key, state, row.modified, scope, row.revision)

        return states()

    def get_encoded(
        self, username: Learner, block_keys: Iterable[BlockKey], scope: Scope = Scope.user_state
    ) -> dict[Any, EncodedState]:
        """Return the rows that exist, with the JSON texts of their states as they are stored."""
        scope = arguments.checked_scope(scope)
        name = self._checked_name(username)
        keys = arguments.row_keys(block_keys, scope)
        self._asker.rows(Action.READ, name, scope, (row for _, row in keys))
        rows = self._rows(name, [row for _, row in keys], scope)
        found = ((key, rows.get(asked)) for key, asked in keys)
        return {key: _encoded(row) for key, row in found if row}

    def get_encoded_rows(self, username: Learner, rows: Sequence[tuple[Scope, BlockKey]]) -> list[EncodedState | None]:
        """Return rows of several scopes with their JSON texts, in the order asked for."""
        return [_encoded(row) if row else None for row in self.read_rows(username, rows)]

    def read_rows(self, username: Learner, rows: Sequence[tuple[Scope, BlockKey]]) -> list[Row | None]:
        """Return rows of several scopes as they are stored, in the order asked for; ``None`` for an absent row."""
        name = self._checked_name(username)
        asked = arguments.rows_of_scopes(rows)
        keys: dict[Scope, list[RowKey]] = {}
        for scope, key in asked:
            keys.setdefault(scope, []).append(key)
        for scope, of_scope in (keys or _NO_ROWS).items():
            self._asker.rows(Action.READ, name, scope, of_scope)
        found = self._rows_of_scopes(name, keys)
        return [found[scope].get(key) for scope, key in asked]

    def get_scores(self, username: Learner, block_keys: Iterable[UsageKey]) -> dict[UsageKey, BlockScore]:
        """Return the scores of the blocks that have one."""
        name = self._checked_name(username)
        keys = arguments.row_keys(block_keys, Scope.user_state)
        self._asker.rows(Action.READ, name, Scope.user_state, (row for _, row in keys))
        # Two keys of one block share its score.
        scores = self._scores(name, [row for _, row in keys])
        return {key: scores[row] for key, row in keys if row in scores}

    def get_history(
        self,
        username: Learner,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        limit: int | None = None,
        before_revision: int | None = None,
    ) -> Iterator[HistoryEntry]:
        """Yield the state after each change, newest first. Arguments are checked at the call."""
        scope = arguments.checked_scope(scope)
        name = self._checked_name(username)
        row = row_key(block_key, scope)
        limit = arguments.checked_count(limit, "limit")
        before_revision = arguments.checked_count(before_revision, "before_revision")
        self._asker.rows(Action.SEE_HISTORY, name, scope, [row])

        def entries() -> Iterator[HistoryEntry]:
            is_empty = True
            # No client records another scope.
            if scope == Scope.user_state and isinstance(row, BlockId):
                for each in self._history(name, row, limit, before_revision):
                    is_empty = False
                    yield HistoryEntry(
                        username,
                        block_key,
                        each.state,
                        each.updated,
                        scope,
                        each.revision,
                        each.score,
                        each.actor,
                        each.archived,
                    )
            # Pages after the first may be empty: that is the end of the history.
            if is_empty and before_revision is None:
                raise DoesNotExist(f"no history of {username!r} in {block_key} ({scope.name}) was recorded")

        return entries()

    def iter_all_for_block(
        self,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        batch_size: int | None = None,
        *,
        using: str | None = None,
        at_least: Mapping[Any, int] | None = None,
    ) -> Iterator[XBlockUserState]:
        """Yield the states of all learners in one block."""
        scope = arguments.checked_scope(scope)
        return _states_of(self.iter_rows_for_block(block_key, scope, batch_size, using=using, at_least=at_least), scope)

    def iter_rows_for_block(
        self,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        batch_size: int | None = None,
        *,
        using: str | None = None,
        at_least: Mapping[Any, int] | None = None,
        after: Place | None = None,
    ) -> Iterable[LearnerRow]:
        """Return the rows of all learners in one block as they are stored, from the one behind the place `after`."""
        scope = arguments.checked_scope(scope)
        row = row_key(block_key, scope)
        size = arguments.checked_batch_size(batch_size)
        source = Source(arguments.checked_alias(using), arguments.known_revisions(at_least, scope), after)
        self._asker.rows(Action.REPORT, None, scope, [row])
        return self._all_of_block(row, scope, size, source)

    def iter_all_for_course(
        self,
        course_key: LearningContextKey,
        block_type: str | None = None,
        scope: Scope = Scope.user_state,
        batch_size: int | None = None,
        *,
        using: str | None = None,
        at_least: Mapping[Any, int] | None = None,
    ) -> Iterator[XBlockUserState]:
        """Yield the states of all learners in all blocks of a course, or in its blocks of one type."""
        scope = arguments.checked_course_scope(scope)
        rows = self.iter_rows_for_course(course_key, block_type, scope, batch_size, using=using, at_least=at_least)
        return _states_of(rows, scope)

    def iter_rows_for_course(  # noqa: PLR0913 (the contract's, and the place)
        self,
        course_key: LearningContextKey,
        block_type: str | None = None,
        scope: Scope = Scope.user_state,
        batch_size: int | None = None,
        *,
        using: str | None = None,
        at_least: Mapping[Any, int] | None = None,
        after: Place | None = None,
    ) -> Iterable[LearnerRow]:
        """Return the rows of a course as they are stored, from the one behind the place `after`."""
        scope = arguments.checked_course_scope(scope)
        course = arguments.checked_course(course_key)
        name = arguments.checked_block_type(block_type)
        size = arguments.checked_batch_size(batch_size)
        source = Source(arguments.checked_alias(using), arguments.known_revisions(at_least, scope), after)
        self._asker.context(Action.REPORT, None, course)
        return self._all_of_course(course, name, scope, size, source)

    def find_blocks(self, usage_key: UsageKey) -> list[UsageKey]:
        """Return the registered blocks of this key, in whatever course."""
        text = find_text(usage_key)
        # A block is registered from the first state of any learner on.
        self._asker.context(Action.REPORT, None, context_of(usage_key), usage_key)
        return list(self._find_blocks(text))

    def get_latest(
        self, username: Learner, limit: int = 1, course_key: LearningContextKey | None = None
    ) -> list[XBlockUserState]:
        """Return a learner's states that were changed last, newest first."""
        name = self._checked_name(username)
        most = arguments.checked_count(limit, "limit") or 1
        course = None if course_key is None else arguments.checked_course(course_key)
        scope = Scope.user_state
        self._asker.context(Action.READ, name, course)
        return [
            XBlockUserState(
                username,
                row.block_key,
                _state_in(row, None, username, row.block_key, scope),
                row.modified,
                scope,
                row.revision,
            )
            for row in self._latest(name, most, course)
        ]

    def set_many(
        self,
        username: Learner,
        block_keys_to_state: Mapping[Any, Mapping[str, Any]],
        scope: Scope = Scope.user_state,
        *,
        if_revisions: Mapping[Any, int] | None = None,
    ) -> None:
        """Overlay fields on the states of many blocks, in one commit: all changes or none."""
        scope = arguments.checked_scope(scope)
        changes = {scope: arguments.overlays(block_keys_to_state, scope)}
        arguments.add_conditions(changes, arguments.conditions(if_revisions, scope))
        self._commit(self._checked_name(username), changes, "set_many")

    def delete_many(
        self,
        username: Learner,
        block_keys: Iterable[BlockKey],
        scope: Scope = Scope.user_state,
        fields: Iterable[str] | None = None,
        *,
        if_revisions: Mapping[Any, int] | None = None,
    ) -> None:
        """Remove `fields`, or all fields, from the states of many blocks, in one commit: all changes or none."""
        scope = arguments.checked_scope(scope)
        removal = arguments.removal(fields)
        keys = arguments.row_keys(block_keys, scope)
        # A change is immutable, so all rows can share it.
        changes = {scope: dict.fromkeys((row for _, row in keys), removal)}
        arguments.add_conditions(changes, arguments.conditions(if_revisions, scope))
        self._commit(self._checked_name(username), changes, "delete_many")

    def set_score(
        self,
        username: Learner,
        block_key: UsageKey,
        grade: float | None,
        max_grade: float | None,
        *,
        if_revision: int | None = None,
    ) -> datetime | None:
        """Set the learner's score in one block and leave the state alone. Return the row's time after the call."""
        block: RowKey = checked_block(block_key)
        changes = {Scope.user_state: {block: arguments.new_score(grade, max_grade)}}
        if if_revision is not None:
            arguments.add_conditions(changes, arguments.conditions({block_key: if_revision}, Scope.user_state))
        row = self._commit(self._checked_name(username), changes, "set_score")[Scope.user_state].get(block)
        return row.modified if row else None

    def replace(
        self,
        username: Learner,
        block_key: BlockKey,
        state: Mapping[str, Any] | None,
        scope: Scope = Scope.user_state,
        *,
        if_revision: int | None = None,
    ) -> None:
        """Make the state of one block exactly `state`, and make its row if there is none."""
        scope = arguments.checked_scope(scope)
        changes = {scope: {row_key(block_key, scope): arguments.replacement(block_key, state)}}
        if if_revision is not None:
            arguments.add_conditions(changes, arguments.conditions({block_key: if_revision}, scope))
        self._commit(self._checked_name(username), changes, "replace")

    @contextmanager
    def batch(
        self,
        username: Learner,
        *,
        only_new: bool = False,
        if_revisions: Mapping[tuple[Scope, Any], int] | None = None,
    ) -> Iterator[ChangeSet]:
        """Collect changes of one learner and commit them together when the ``with`` block ends.

        Then the batch has the rows that it named and that exist, as ``written``.
        """
        name = self._checked_name(username)
        collected = ChangeSet(only_new=only_new, if_revisions=if_revisions)
        try:
            yield collected
        # Also after an exception, because the caller may have kept the batch.
        finally:
            collected.end()
        collected.written = self._commit(name, collected.completed(), "batch")

    @contextmanager
    def locked(self, username: Learner, block_keys: Mapping[Scope, Iterable[BlockKey]]) -> Iterator[None]:
        """Keep other writers from these rows while the ``with`` block runs, if the client has locks."""
        name = self._checked_name(username)
        keys = {arguments.checked_scope(scope): of_scope for scope, of_scope in block_keys.items()}
        rows = {scope: [row for _, row in arguments.row_keys(of_scope, scope)] for scope, of_scope in keys.items()}
        for scope, of_scope in (rows or _NO_ROWS).items():
            self._asker.rows(Action.WRITE, name, scope, of_scope)
        with self._locked(name, rows):
            yield

    def _commit(self, name: str | UserId, changes: Changes, operation: str) -> WrittenRows:
        for scope, of_scope in (changes or _NO_ROWS).items():
            self._asker.rows(Action.WRITE, name, scope, of_scope)
        return self._write(name, changes, operation)


def refuse_anonymous(username: str | UserId, scopes: Collection[Scope]) -> None:
    """Raise `PermissionDenied` for a write of an anonymous user, unless it only changes state that all share."""
    if not username and any(scope != Scope.user_state_summary for scope in scopes):
        raise PermissionDenied(
            "an anonymous user's state can't be kept here; keep it in the ephemeral store"
            " (xblock_user_state.ephemeral) until there is an account"
        )


def _state_in(
    row: Row | LearnerRow, fields: Collection[str] | None, username: Learner, block_key: BlockKey, scope: Scope
) -> State | None:
    try:
        return existing_state(row.text, fields)
    except NotAState as error:
        raise damaged_state(username, block_key, scope, error) from error


def _encoded(row: Row) -> EncodedState:
    return EncodedState(row.text if is_state(row.text) else None, row.revision)


def _states_of(rows: Iterable[LearnerRow], scope: Scope) -> Iterator[XBlockUserState]:
    for row in rows:
        try:
            state = existing_state(row.text)
        # One row must not end the iteration of a course.
        except NotAState as error:
            _LOG.warning("an iteration leaves out a row: %s", damaged_state(row.username, row.block_key, scope, error))
            continue
        if state is not None:
            yield XBlockUserState(row.username, row.block_key, state, row.modified, scope, row.revision)

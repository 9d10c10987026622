"""The contract of all XBlock user state clients, and their errors.

The Open edX community defined it in 2015 as ``XBlockUserStateClient``. Names and meaning are kept; the code is new, so
that hosts need no archived package. Errors::

    UserStateError
    ├── ServiceUnavailable       the store can't be reached, or kept failing
    ├── PermissionDenied         the caller may not do this
    ├── DoesNotExist             no such state, or no such history
    │   └── UserDoesNotExist     no such user
    ├── Conflict                 a row does not have the revision that the caller named
    ├── DamagedState             a stored state is no JSON object
    ├── DamagedHistory           an entry of the history can't be read
    └── BlockKeyCollision        two blocks with one 64-bit id

A client has them as attributes too (``client.DoesNotExist``), so that callers need no import. Bad arguments raise
``TypeError`` or ``ValueError``, with a message that names the argument and the reason.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol, Self, cast

from opaque_keys.edx.keys import BlockTypeKey, LearningContextKey, UsageKey
from xblock.fields import Scope

__all__ = [
    "Batch",
    "BlockKey",
    "BlockKeyCollision",
    "BlockScore",
    "Conflict",
    "ConflictingRow",
    "DamagedHistory",
    "DamagedState",
    "DoesNotExist",
    "EncodedState",
    "HistoryEntry",
    "Learner",
    "PermissionDenied",
    "ServiceUnavailable",
    "State",
    "UserDoesNotExist",
    "UserId",
    "UserStateError",
    "XBlockUserState",
    "XBlockUserStateClient",
]

BlockKey = UsageKey | BlockTypeKey | str | None
"""The key of a state apart from its learner. Its type depends on the scope, see `XBlockUserStateClient`."""

State = dict[str, Any]
"""JSON values by field name."""


@dataclass(frozen=True, slots=True)
class UserId:
    """A learner by id, in place of the username: `XBlockUserStateClient` says where.

    ``id`` has the type of the host's user model's key, or is a value that this type reads, such as its text.
    """

    id: Any


Learner = str | UserId | None
"""A ``username`` argument: the name of a user, the user's id, or ``None`` (or ``""``) for an anonymous user."""


class UserStateError(Exception):
    """The learner's state could not be read or written."""

    def __init__(self, *args: object) -> None:
        # The docstring is the default message.
        super().__init__(*(args or (type(self).__doc__,)))


class ServiceUnavailable(UserStateError):
    """The store of learner state can't be reached, or kept failing. The cause is chained."""


class PermissionDenied(UserStateError):
    """This learner state may not be read or written by this caller."""


class DoesNotExist(UserStateError):
    """There is no such learner state."""

    revision: int = 0
    """The row's revision, if `get` found a row without a state (deleted, or only a score); 0 if there is no row."""


class UserDoesNotExist(DoesNotExist):
    """There is no such user."""


class ConflictingRow(NamedTuple):
    """A row of a `Conflict`: the caller's key, the revision that the caller named, and the row's own."""

    scope: Scope
    block_key: Any
    expected: int
    """0 if there should have been no row."""
    actual: int
    """0 if there is no row. Equal to `expected` if the row was deleted for good and created again."""


class Conflict(UserStateError):
    """A row does not have the revision that the caller named. Nothing was written: read again, decide, write again."""

    rows: Sequence[ConflictingRow]
    """The rows in conflict; none if `locked` lost its lock. Other rows of the call were as the caller expected."""

    def __init__(self, *args: object, rows: Sequence[ConflictingRow] = ()) -> None:
        super().__init__(*args)
        self.rows = rows


class DamagedState(UserStateError):
    """The stored state is not a JSON object: SQL or a script wrote it. Set or delete it to mend it."""


class DamagedHistory(UserStateError):
    """An entry of the history can't be read: it is damaged, or an entry that it builds on is."""


class BlockKeyCollision(UserStateError):
    """Another block or learning context is registered under the same 64-bit id."""


class _MoreValues:
    """Values beside the fields of a named tuple, which copies, ``_replace`` and ``repr`` take along.

    A subclass has a ``__new__`` with one argument a value, the tuple's first, so that these methods need no packing.
    """

    _fields: ClassVar[tuple[str, ...]]
    _beside_the_tuple: ClassVar[tuple[str, ...]]

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:
        """Make a tuple of all its values."""
        return cls(*iterable)

    def _replace(self, **changes: Any) -> Self:
        """Return a copy with other values of some fields, those beside the tuple among them."""
        return type(self)(**{**self._asdict(), **changes})

    def _asdict(self) -> dict[str, Any]:
        """Return all values by name."""
        beside = {name: getattr(self, name) for name in self._beside_the_tuple}
        return {**dict(zip(self._fields, cast("Iterable[Any]", self), strict=True)), **beside}

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Return the arguments from which ``copy`` and ``pickle`` make it again."""
        return tuple(self._asdict().values())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"


class _StateFields(NamedTuple):
    username: Any
    block_key: Any
    state: State | None
    updated: datetime
    scope: Scope


class XBlockUserState(_MoreValues, _StateFields):  # type: ignore[misc]  # mypy knows a named tuple's own methods
    """The state of one block (or block type, or learner) at one time, with its ``revision``.

    ``username`` is the learner as the call named them: a name, a `UserId` or ``None``. Iterations give names.
    ``updated`` is an aware datetime in UTC: the fields did not change after it. ``state`` is a fresh object that the
    caller may change; in history it is ``None`` where there was no state. ``revision`` counts the changes of the row, 1
    at its creation; it is ``None`` in a result that was made without it.

    The tuple has five fields, without the revision, and equality counts these five: a later revision of a row has a
    later ``updated``. Copies and ``_replace`` keep the revision.
    """

    revision: int | None

    _beside_the_tuple: ClassVar[tuple[str, ...]] = ("revision",)

    def __new__(
        cls,
        username: Any,
        block_key: Any,
        state: State | None,
        updated: datetime,
        scope: Scope,
        revision: int | None = None,
    ) -> Self:
        # A named tuple's own __new__ takes its fields only.
        result = tuple.__new__(cls, (username, block_key, state, updated, scope))
        result.revision = revision
        return result


class EncodedState(NamedTuple):
    """A stored row, of which nothing is decoded: the state's JSON text and the row's revision."""

    text: str | None
    """``None`` for a deleted or absent state: the row may have only a score."""
    revision: int | None
    """``None`` from a client without revisions."""


class _ScoreFields(NamedTuple):
    grade: float | None
    max_grade: float | None
    updated: datetime


class BlockScore(_MoreValues, _ScoreFields):  # type: ignore[misc]  # as above
    """A learner's score in one block, with the times of its row: aware datetimes in UTC.

    ``grade`` is ``None`` for a maximum without a grade. ``updated`` is the time of the row's last change, of its state
    or score, and ``created`` the time of its first one. ``created`` is ``None`` in history, whose entries do not have
    it, and in a score that was made without it.

    The tuple has three fields, without ``created``, and equality counts these three.
    """

    created: datetime | None

    _beside_the_tuple: ClassVar[tuple[str, ...]] = ("created",)

    def __new__(
        cls, grade: float | None, max_grade: float | None, updated: datetime, created: datetime | None = None
    ) -> Self:
        score = tuple.__new__(cls, (grade, max_grade, updated))
        score.created = created
        return score


class HistoryEntry(XBlockUserState):
    """A state as one change left it, with ``revision``, ``score`` and ``actor`` of that change.

    The actor is the username of the user who made the change; ``None`` if the client knew no user, or the user is gone.
    ``archived`` tells that the entry comes from the archive of early history and no longer from the database.

    The tuple has the five fields of `XBlockUserState`. Equality, copies and ``_replace`` count the others too. In a
    damaged entry a `DamagedHistory` stands in the place of the state: reading ``state`` raises it, and all else can be
    read.
    """

    revision: int
    score: BlockScore | None
    actor: str | None
    archived: bool

    _beside_the_tuple = ("revision", "score", "actor", "archived")

    def __new__(  # noqa: PLR0913, PLR0917
        cls,
        username: Any,
        block_key: Any,
        state: State | DamagedHistory | None,
        updated: datetime,
        scope: Scope,
        revision: int,
        score: BlockScore | None,
        actor: str | None = None,
        archived: bool = False,
    ) -> Self:
        entry = tuple.__new__(cls, (username, block_key, state, updated, scope))
        entry.revision = revision
        entry.score = score
        entry.actor = actor
        entry.archived = archived
        return entry

    @property
    def state(self) -> State | None:
        """The state, ``None`` where there was none. Raises `DamagedHistory` if the entry is damaged."""
        state = self[2]
        if isinstance(state, DamagedHistory):
            raise state
        return state

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HistoryEntry) and self.__getnewargs__() == other.__getnewargs__()

    # A tuple's own __ne__ would compare five fields.
    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.__getnewargs__())


class Batch(Protocol):
    """Collects changes of one learner, which are committed together: see `XBlockUserStateClient.batch`."""

    def set(self, block_key: BlockKey, fields: Mapping[str, Any], scope: Scope = Scope.user_state) -> None:
        """Overlay `fields` on the state of one block."""

    def delete(self, block_key: BlockKey, fields: Iterable[str] | None = None, scope: Scope = Scope.user_state) -> None:
        """Remove `fields`, or all fields, from the state of one block."""

    def replace(self, block_key: BlockKey, state: Mapping[str, Any] | None, scope: Scope = Scope.user_state) -> None:
        """Make the state of one block exactly `state`, and make its row if there is none."""

    def set_score(self, block_key: UsageKey, grade: float | None, max_grade: float | None) -> None:
        """Set the learner's score in one block. Returns nothing: the row gets its time when the batch is committed."""


class XBlockUserStateClient(ABC):
    """Stores the state, scores and history of learners in XBlocks.

    The type of ``block_key`` depends on the scope:

    ======================  ============================================================================
    ``user_state``          a usage key, or the usage key of an aside
    ``user_state_summary``  the same; shared by all learners, so the username is not part of the key
    ``preferences``         a block type: a string, or a ``BlockTypeKeyV1``, whose family counts
    ``user_info``           ``None``
    ======================  ============================================================================

    Any other scope is a ``ValueError``. Reads for an unknown or anonymous user (an empty username) find nothing. Writes
    for an unknown user raise `UserDoesNotExist`, writes for an anonymous user `PermissionDenied`.

    Each ``username`` may be a `UserId` instead. No statement looks the user up, so the caller vouches for them: nothing
    checks that the user exists. Results have the `UserId` in the place of the username, as they were asked with; actors
    of the history, and the learners of iterations, are usernames. An id that is none of the user model's is a
    ``ValueError``.

    A write may name the revisions of its rows, as reads return them (`if_revision`, `if_revisions`; 0 for a row that
    must not exist yet). If a row has another revision, the call raises `Conflict` and commits nothing, also where it
    would not change that row. A row exists even if its state was deleted or it has only a score.
    """

    UserStateError = UserStateError
    ServiceUnavailable = ServiceUnavailable
    PermissionDenied = PermissionDenied
    DoesNotExist = DoesNotExist
    UserDoesNotExist = UserDoesNotExist
    Conflict = Conflict
    DamagedState = DamagedState
    DamagedHistory = DamagedHistory
    BlockKeyCollision = BlockKeyCollision

    def get(
        self,
        username: Learner,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        fields: Collection[str] | None = None,
    ) -> XBlockUserState:
        """Return the state of one block, with only `fields` when given.

        Raises `DoesNotExist` where there never was a state, or where it was deleted. The error has the ``revision`` of
        the row, 0 if there is none. Raises `DamagedState` where SQL or a script has stored a text that is no state.
        """
        # One key yields at most one state.
        for found in self.get_many(username, [block_key], scope, fields):
            return found
        raise DoesNotExist(f"{username!r} has no state in {block_key} ({scope.name})")

    def set(
        self,
        username: Learner,
        block_key: BlockKey,
        state: Mapping[str, Any],
        scope: Scope = Scope.user_state,
        *,
        if_revision: int | None = None,
    ) -> None:
        """Overlay the fields of `state` on the state of one block. Other fields are kept."""
        self.set_many(username, {block_key: state}, scope, if_revisions=_of_one(block_key, if_revision))

    def delete(
        self,
        username: Learner,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        fields: Iterable[str] | None = None,
        *,
        if_revision: int | None = None,
    ) -> None:
        """Remove `fields`, or all fields, from the state of one block. This is a change: history is kept."""
        self.delete_many(username, [block_key], scope, fields, if_revisions=_of_one(block_key, if_revision))

    @abstractmethod
    def replace(
        self,
        username: Learner,
        block_key: BlockKey,
        state: Mapping[str, Any] | None,
        scope: Scope = Scope.user_state,
        *,
        if_revision: int | None = None,
    ) -> None:
        """Make the state of one block exactly `state`; all other fields are removed.

        ``{}`` leaves a deleted state, ``None`` a row that never had one: to readers both are no state. All of them make
        a row, if there is none. It is a change if the encoded text differs, also in its order, or the row is new.
        """

    @abstractmethod
    def get_many(
        self,
        username: Learner,
        block_keys: Iterable[BlockKey],
        scope: Scope = Scope.user_state,
        fields: Collection[str] | None = None,
    ) -> Iterator[XBlockUserState]:
        """Yield the states of the blocks that have one, in the order asked for, each key once.

        With `fields`, states hold only the named fields that are set. Raises `DamagedState` at the block whose stored
        text is no state.
        """

    def get_encoded(
        self, username: Learner, block_keys: Iterable[BlockKey], scope: Scope = Scope.user_state
    ) -> dict[Any, EncodedState]:
        """Return the rows that exist, for callers that decode later, by field: JSON texts and revisions.

        Rows without a state are among them. This implementation encodes the results of `get_many`, which leaves such
        rows out. A client that stores texts returns them unchanged.
        """
        return {
            found.block_key: EncodedState(json.dumps(found.state, separators=(",", ":")), found.revision)
            for found in self.get_many(username, block_keys, scope)
        }

    def get_encoded_rows(self, username: Learner, rows: Sequence[tuple[Scope, BlockKey]]) -> list[EncodedState | None]:
        """Return rows of several scopes as `get_encoded` does, in the order of `rows`; ``None`` for an absent row.

        This implementation calls `get_encoded` for each scope.
        """
        keys: dict[Scope, list[Any]] = {}
        for scope, block_key in rows:
            keys.setdefault(scope, []).append(block_key)
        found = {scope: self.get_encoded(username, of_scope, scope) for scope, of_scope in keys.items()}
        return [found[scope].get(block_key) for scope, block_key in rows]

    @abstractmethod
    def set_many(
        self,
        username: Learner,
        block_keys_to_state: Mapping[Any, Mapping[str, Any]],
        scope: Scope = Scope.user_state,
        *,
        if_revisions: Mapping[Any, int] | None = None,
    ) -> None:
        """Overlay fields on the states of many blocks, in one commit: all changes or none."""

    @abstractmethod
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

    @abstractmethod
    def get_history(
        self,
        username: Learner,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        limit: int | None = None,
        before_revision: int | None = None,
    ) -> Iterator[HistoryEntry]:
        """Yield the state after each change, newest first, ``None`` for a deleted or absent state.

        Yields at most `limit` entries, and only entries with revisions lower than `before_revision`. For the next page,
        give the revision of the last entry. Raises `DoesNotExist` (at the first ``next``) where no history was
        recorded: an unknown user or block, a block type that is not recorded, a scope other than ``user_state``. A page
        that begins at `before_revision` may be empty instead, at the end of the history. A damaged entry raises nothing
        until its ``state`` is read.
        """

    @abstractmethod
    def iter_all_for_block(
        self,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        batch_size: int | None = None,
        *,
        using: str | None = None,
        at_least: Mapping[Any, int] | None = None,
    ) -> Iterator[XBlockUserState]:
        """Yield the states of all learners in one block, with the block's canonical key.

        Deleted and absent states are left out, and the states of deleted users. Memory is bounded by `batch_size` rows
        (default 1,000). A state that is written during the iteration may be yielded as before or as after the write.

        `using` is the alias of the database to read, such as a replica, which may lag. Without it the setting
        ``REPLICA`` decides. `at_least` names revisions that the caller knows of, by pairs of learner and key: a
        replica that lacks one of them is not read, but the primary. Usernames always come from the primary. An alias
        that ``DATABASES`` lacks is a ``ValueError``. A client without databases has all revisions.
        """

    @abstractmethod
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
        """Yield the states of all learners in all blocks of a course, or in its blocks of one type, as for a block.

        For ``user_state`` and ``user_state_summary``. The other scopes belong to no course (``ValueError``).
        """

    @abstractmethod
    def set_score(
        self,
        username: Learner,
        block_key: UsageKey,
        grade: float | None,
        max_grade: float | None,
        *,
        if_revision: int | None = None,
    ) -> datetime | None:
        """Set the learner's score in one block and leave the state alone. Return the row's time after the call.

        A maximum without a grade is kept; ``None`` for both removes the score. The time is the ``updated`` of the row's
        reads, also if nothing changed; ``None`` if there is no row, because there was no score to remove. In a caller's
        transaction the row has this time from its commit on.
        """

    @abstractmethod
    def get_scores(self, username: Learner, block_keys: Iterable[UsageKey]) -> dict[UsageKey, BlockScore]:
        """Return the scores of the blocks that have one, or have a maximum without a grade."""

    @abstractmethod
    def find_blocks(self, usage_key: UsageKey) -> list[UsageKey]:
        """Return the blocks of this key that the store has registered, in whatever course, by their canonical keys.

        An old-style key may lack its run; then each run of the course may have a block of this key. A block is
        registered from the first write of any learner on.
        """

    @abstractmethod
    def get_latest(
        self, username: Learner, limit: int = 1, course_key: LearningContextKey | None = None
    ) -> list[XBlockUserState]:
        """Return a learner's states that were changed last, newest first: at most `limit`, or those of one course.

        For ``user_state``, by canonical keys. A row with only a score, or a deleted state, is among them: its ``state``
        is ``None``. Raises `DamagedState` where a stored text is no state. The call reads the times of all rows of the
        learner.
        """

    @abstractmethod
    def batch(
        self,
        username: Learner,
        *,
        only_new: bool = False,
        if_revisions: Mapping[tuple[Scope, Any], int] | None = None,
    ) -> AbstractContextManager[Batch]:
        """Collect changes of one learner and commit them together when the ``with`` block ends.

        Each block changes once, with one revision and one history entry, however many calls named it. Nothing is
        committed if the body raises. Reads do not see the collected changes, and calls on the client itself do not join
        the batch.

        With `only_new`, rows that exist are left alone, even rows with only a score or a deleted state, and also rows
        that another writer creates at the same moment. The other rows are committed.

        `if_revisions` names the revisions of rows that the batch changes, by scope and key. A row that it does not
        change, or `only_new` as well, is a ``ValueError``.
        """

    @contextmanager
    def locked(self, username: Learner, block_keys: Mapping[Scope, Iterable[BlockKey]]) -> Iterator[None]:
        """Keep other writers from these rows while the ``with`` block runs, for a caller that repeats after `Conflict`.

        Any client of the thread may read and write the rows meanwhile. Its writes may be committed as late as the end
        of the block, and be lost if the block raises. A row that does not exist may stay unlocked. A client may raise a
        `Conflict` without rows if the lock was lost to another writer, as in a deadlock: nothing was committed then.
        This implementation locks nothing, so callers still need conditions on their writes.
        """
        yield


def _of_one(block_key: BlockKey, if_revision: int | None) -> Mapping[Any, int] | None:
    return None if if_revision is None else {block_key: if_revision}

"""XBlock's key-value store over a user state client."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Any

from django.db import DatabaseError
from msgspec import Raw
from opaque_keys.edx.keys import UsageKey
from xblock.core import XBlock
from xblock.exceptions import KeyValueMultiSaveError
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from xblock_user_state.clients.arguments import new_score
from xblock_user_state.interface import (
    BlockKey,
    BlockScore,
    PermissionDenied,
    UserDoesNotExist,
    UserStateError,
    XBlockUserStateClient,
)
from xblock_user_state.runtime.addresses import RowAddress, address_of, addresses_of_block, addresses_of_class
from xblock_user_state.runtime.changes import Changes
from xblock_user_state.runtime.destinations import Destination, Nowhere, ToClient, ToSession, id_of
from xblock_user_state.runtime.field_values import encode_values
from xblock_user_state.runtime.grades import DEFAULT_GUARD, Grade, GradeGuard, grade_of, is_at_least
from xblock_user_state.runtime.row_cache import CachedRow
from xblock_user_state.runtime.unit import Member, Unit
from xblock_user_state.state.change import TICK, Score, clock, damaged_state, score_of
from xblock_user_state.state.codec import NotAState, decode_field
from xblock_user_state.state.keys import checked_block, row_key

_LOG = logging.getLogger("xblock_user_state.runtime")


class UserStateKeyValueStore(KeyValueStore):
    """Stores the learner fields of one learner's blocks and asides, in four scopes. Make one for each request.

    Give it to `xblock.runtime.KvsFieldData`. Fields that authors write (content, settings, children) belong in another
    store: a key of such a scope is an ``InvalidScopeError``, and a key of another learner is `PermissionDenied`.

    The store reads each row once, with all of its fields, and caches it, also if it is absent: one statement for each
    block and scope that was not prefetched. A write changes the cache too; a failed write leaves it alone. Commits of
    other requests are not seen meanwhile, and not undone. A rollback of a transaction around the store is not noticed,
    so make a new store then. Values are fresh objects, which blocks may change freely.

    ``user_id`` and ``username`` are the learner's; ``client`` is the client that the store was made with.
    """

    def __init__(
        self,
        client: XBlockUserStateClient,
        user: Any,
        *,
        read_only: bool = False,
        session: MutableMapping[str, Any] | None = None,
        grade_guard: GradeGuard = DEFAULT_GUARD,
        other: Callable[[Any], UserStateKeyValueStore] | None = None,
    ) -> None:
        """`user` is a Django user, or in tests any object with an ``id`` and a ``username``.

        With `read_only`, for crawlers and previews, writes are dropped and counted. With a `session`, the Django
        session of staff who act as `user`, writes stay in that session: the learner's own state shows through and is
        never touched. In both cases the blocks of this request see their own writes. `grade_guard` decides which grades
        `publish` refuses. `other` makes the store of another learner, for `for_learner`; by default it has the same
        client and options.
        """
        if read_only and session is not None:
            raise ValueError("read_only drops the changes that a session keeps: give one of the two")
        self.client = client
        self.user_id = id_of(user)
        # A custom user model may call the field by another name.
        self.username: str = user.get_username() if hasattr(user, "get_username") else user.username
        self._destination = self._destined(read_only=read_only, session=session)
        self._grade_guard = grade_guard
        self._other = other or partial(
            UserStateKeyValueStore, client, read_only=read_only, session=session, grade_guard=grade_guard
        )
        self._own_rows: dict[RowAddress, CachedRow] = {}
        # Of rows that all learners share, by place: stores that share the unit share these too.
        self._shared_rows: dict[object, dict[RowAddress, CachedRow]] = defaultdict(dict)
        self._member = Member(self.username, self._commit_unit, self._destination.place)
        self._unit = Unit(self._member)
        # Of the stores that share the unit, by the learner's id.
        self._stores: dict[Any, UserStateKeyValueStore] = {self.user_id: self}

    def _destined(self, *, read_only: bool, session: MutableMapping[str, Any] | None) -> Destination:
        if session is not None:
            return ToSession(session, self.user_id)
        return Nowhere() if read_only else ToClient(self.client, self.username)

    @property
    def dropped_writes(self) -> int:
        """The number of row changes that `read_only` has dropped."""
        return self._destination.dropped

    def prefetch(self, blocks: Iterable[XBlock]) -> None:
        """Read the rows of these blocks and their asides, of all scopes: one statement.

        No field that they declare takes another statement, whether it has a value or not. Asides are the ones that
        the runtime of a block gives (`get_asides`). Children are read only if they are among `blocks`.
        """
        asked = [each for block in blocks for each in (block, *block.runtime.get_asides(block))]
        self._read(self._row(address) for each in asked for address in addresses_of_block(each))

    def prefetch_keys(self, blocks: Iterable[tuple[UsageKey, type[XBlock]]]) -> None:
        """Do the same without instances, for usage keys and the classes that declare the fields.

        Name an aside by its own usage key and class. If the runtime's mixins have learner fields, give the classes with
        the mixins.
        """
        self._read(
            self._row(address)
            for usage_key, block_class in blocks
            for address in addresses_of_class(usage_key, block_class)
        )

    def prefetch_rows(self, scope: Scope, block_keys: Iterable[BlockKey]) -> None:
        """Do the same for the rows of one scope, by the keys that a client takes for it: one statement."""
        self._read(self._row(RowAddress(scope, row_key(key, scope))) for key in block_keys)

    def for_learner(self, learner: Any) -> UserStateKeyValueStore:
        """Return the store of another learner, which joins this store's unit of work.

        For a block that is rebound to `learner`, a user. All stores of a unit are committed at its end: each learner's
        changes in one transaction, those of this store last. If a later one fails, the earlier ones stay; the error
        has a note that names the learners. A `Conflict` is then `ServiceUnavailable`, so that `run_guarded` does not
        make the changes twice. The handlers that run are the same too. A row that all learners share is one row for all
        of these stores, and is committed with the changes of the learner whose block changed it last.

        Raises `UserDoesNotExist` for ``None``, and for a user without an id, such as a deleted one: a block may pass on
        the result of a search.
        """
        # Without an id they would pass for a visitor.
        if learner is None or (id_of(learner) is None and getattr(learner, "is_authenticated", False)):
            raise UserDoesNotExist(f"a block can't be bound to {learner!r}, which is no user with an account")
        store = self._stores.get(id_of(learner))
        if store is None:
            store = self._other(learner)
            store._unit, store._stores = self._unit, self._stores  # noqa: SLF001 - of the same class
            store._shared_rows = self._shared_rows  # noqa: SLF001
            self._stores[store.user_id] = store
        return store

    def unit_of_work(self, *, guarded: bool = False) -> AbstractContextManager[None]:
        """Collect the changes of blocks, and commit them together when the ``with`` block ends.

        Put it around a view or a handler. It takes one transaction, with one revision and one history entry a block,
        scores included. Reads see the collected changes. An exception discards and forgets them; so does a failed
        commit, whose error is raised as the client raises it. A unit inside another joins it; if the inner one fails,
        it takes back its own changes only.

        With `guarded`, a row that this request has used and that the unit changes must still have the revision that the
        request read. Else the end of the unit raises `Conflict`, and nothing is committed: see `run_guarded`. `get` and
        `has` use a row; a prefetch, a deletion and reads of the unit's own changes do not. Rows that were only used, or
        only changed, are not guarded, and neither are writes that `read_only` or a `session` keeps from the learner's
        rows. A guarded unit inside another guards the outer one. Without a conflict the guard costs no statement. A
        client without revisions is a ``ValueError``.

        XBlock marks fields as saved when they are collected, so discard the blocks of a failed unit.
        """
        return self._unit.work(guarded=guarded)

    def handling(self, handler_name: str) -> AbstractContextManager[None]:
        """Tell the store which handler runs, for the guard of grades. Put it around the call of a block's handler."""
        return self._unit.handling(handler_name)

    def get(self, key: KeyValueStore.Key) -> Any:
        """Return the stored value, as plain JSON.

        Raises ``KeyError`` if there is none, and `DamagedState` where SQL or a script has stored a text that is no
        state.
        """
        text = self._find(self._row(self._address(key)), key.field_name)
        if text is None:
            raise KeyError(repr(key))
        return decode_field(text)

    def has(self, key: KeyValueStore.Key) -> bool:
        return self._find(self._row(self._address(key)), key.field_name) is not None

    def set(self, key: KeyValueStore.Key, value: Any) -> None:
        self._write(self._changes({key: value}))

    def set_many(self, update_dict: Mapping[KeyValueStore.Key, Any]) -> None:
        """Write all fields, of any scopes and blocks, in one transaction, or collect them for the unit of work.

        A failure is a ``KeyValueMultiSaveError`` that names no field as saved, because none was.
        """
        changes = self._changes(update_dict)
        try:
            self._write(changes)
        # XBlock handles this one error only.
        except (UserStateError, DatabaseError) as error:
            raise KeyValueMultiSaveError([]) from error

    def delete(self, key: KeyValueStore.Key) -> None:
        """Remove one value. Raises ``KeyError`` if there is none."""
        # Not a use of the row: a removal does not depend on the value.
        address = self._address(key)
        if self._find(self._row(address), key.field_name, use=False) is None:
            raise KeyError(repr(key))
        self._write(Changes({address: {key.field_name: None}}))

    def publish(self, block: XBlock, event_type: str, event_data: Mapping[str, Any]) -> None:
        """Store the score of a ``grade`` event. Other events are ignored, so a runtime may pass on all of them.

        The event has ``value`` and ``max_value``; ``None`` for both removes the score. With ``only_if_higher``, a score
        that is a smaller share of its maximum than the present one is ignored. That check reads the score first, so two
        concurrent requests may both pass it. A guarded unit notices that, if the request has read the block's row too.
        A ``user_id`` of another learner is `PermissionDenied`.

        Grades that the `GradeGuard` refuses are logged and ignored. So are malformed events, because the page of a
        block may have sent them.
        """
        if event_type != "grade":
            return
        block_key = block.scope_ids.usage_id
        grade = self._accepted(block, event_data)
        if grade is None:
            return
        if grade.user_id is not None and not self._is_of(grade.user_id):
            raise self._refusal(grade.user_id, f"a grade in {block_key}")
        address = RowAddress(Scope.user_state, checked_block(block_key))
        if not grade.only_if_higher or is_at_least(grade.score, self._score(address)):
            self._write(Changes(scores={address: BlockScore(*grade.score, clock())}))

    def set_score(self, block_key: UsageKey, grade: float | None, max_grade: float | None) -> datetime | None:
        """Set the learner's score in one block; return its time at once, for code that waits until the row is as new.

        In a unit of work the score is collected, so it and the block's fields become one revision. The time is then the
        present one, or that of the stored score if this is the same score: the committed row is at least as new. One
        statement reads the stored score. If another request stores the same score meanwhile, the row may be older; a
        guarded unit that has read the block's row raises `Conflict` instead. If the unit sets another score and then
        the stored one again, nothing changes: the row never reaches the first time, and has the second.

        Outside of a unit the score is committed at once. Returns ``None`` if there is no score to remove. The
        `GradeGuard` is for events of blocks, and not asked.
        """
        score = new_score(grade, max_grade).score or Score(None, None)
        address = RowAddress(Scope.user_state, checked_block(block_key))
        if not self._unit.is_open:
            committed = self._destination.set_score(block_key, BlockScore(*score, clock()))
            self._row(address).follow({}, guarded=False)
            return committed
        stored = self._stored_score(address)
        if stored is None:
            updated = clock()
        elif score == (stored.grade, stored.max_grade):
            updated = stored.updated
        else:
            # The times of a row rise also if the clock stands still.
            updated = max(clock(), stored.updated + TICK)
        self._write(Changes(scores={address: BlockScore(*score, updated, stored.created if stored else None)}))
        return None if stored is None and score == (None, None) else updated

    def get_score(self, block_key: UsageKey) -> BlockScore | None:
        """Return the learner's score in one block, with the collected changes; ``None`` if there is none.

        A collected score has the time that `set_score` has returned, and ``created`` if the row had a score before. One
        statement, or none for a collected score.
        """
        address = RowAddress(Scope.user_state, checked_block(block_key))
        collected = self._unit.collected(self._member, address).scores
        score = collected[address] if address in collected else self._stored_score(address)
        return score if score and score_of(*score) else None

    def get_scores(self, block_keys: Iterable[UsageKey]) -> dict[UsageKey, BlockScore]:
        """Return the scores of the blocks that have one, as `get_score` does. One statement."""
        found: dict[UsageKey, BlockScore] = {}
        stored: list[UsageKey] = []
        for key in block_keys:
            address = RowAddress(Scope.user_state, checked_block(key))
            score = self._unit.collected(self._member, address).scores.get(address)
            if score is None:
                stored.append(key)
            elif score_of(*score):
                found[key] = score
        return {**found, **self.client.get_scores(self.username, stored)} if stored else found

    def _accepted(self, block: XBlock, event_data: Any) -> Grade | None:
        """Return the grade of an event; ``None``, with a warning in the log, for an ignored event."""
        reason: object = self._grade_guard.reason_to_refuse(block, self._unit.running)
        if reason is None:
            try:
                return grade_of(event_data)
            except (TypeError, ValueError) as error:
                reason = error
        _LOG.warning("the grade event of %s is ignored: %s", block.scope_ids.usage_id, reason)
        return None

    def _score(self, address: RowAddress) -> Score:
        """Return the learner's points and maximum, with the collected changes."""
        score = self.get_score(address.block_key)
        return Score(score.grade, score.max_grade) if score else Score(None, None)

    def _stored_score(self, address: RowAddress) -> BlockScore | None:
        # A score that is newer than the cached row is a conflict too.
        self._renewed(self._row(address)).was_used = True
        return next(iter(self.client.get_scores(self.username, [address.block_key]).values()), None)

    def _row(self, address: RowAddress) -> CachedRow:
        """Return the row of an address. It is the same object as long as the store lives."""
        rows = self._shared_rows[self._member.place] if address.is_shared else self._own_rows
        row = rows.get(address)
        if row is None:
            row = rows[address] = CachedRow(address, self._destination.earlier(address))
        return row

    def _find(self, row: CachedRow, field_name: str, *, use: bool = True) -> Raw | None:
        """Return the text of a field; ``None`` for an absent field. With `use`, a guard counts the row as used."""
        # A deleted field is collected as None, so its name decides.
        collected = self._unit.collected_fields(self._member, row.address)
        if field_name in collected:
            return collected[field_name]
        if not self._renewed(row).knows(field_name):
            self._read([row])
        row.was_used = row.was_used or use
        try:
            return row.get(field_name)
        except NotAState as error:
            raise damaged_state(self.username, row.address.block_key, row.address.scope, error) from error

    def _read(self, rows: Iterable[CachedRow]) -> None:
        """Read the rows that were not read yet, in one call."""
        unread = [row for row in dict.fromkeys(rows) if not self._renewed(row).was_read]
        if unread:
            addresses = [(row.address.scope, row.address.block_key) for row in unread]
            # Texts, because a page reads only some fields of a row.
            for row, stored in zip(unread, self.client.get_encoded_rows(self.username, addresses), strict=True):
                row.read(stored)

    def _renewed(self, row: CachedRow) -> CachedRow:
        """Return the row, which forgets what is outdated if a guard needs the revision of the fields."""
        if row.is_outdated and self._unit.is_guarded and self._destination.reaches_learner:
            row.forget()
        return row

    def _write(self, changes: Changes) -> None:
        if self._unit.is_open:
            self._unit.collect(self._member, changes)
        else:
            self._commit(changes, {})

    def _commit_unit(self, changes: Changes, guarded: bool) -> None:
        self._commit(changes, self._revisions(changes) if guarded and self._destination.reaches_learner else {})

    def _commit(self, changes: Changes, revisions: Mapping[RowAddress, int]) -> None:
        if not changes.addresses:
            return
        self._destination.commit(changes, revisions)
        # Only now, because a failed commit must leave the cache as it was.
        for address in changes.addresses:
            row, fields = self._row(address), changes.fields.get(address, {})
            row.was_replaced = row.was_replaced or (bool(fields) and self._destination.reaches_learner)
            row.follow(fields, guarded=address in revisions)
            row.write(fields)

    def _revisions(self, changes: Changes) -> dict[RowAddress, int]:
        """Return the revisions of the changed rows that the request has used."""
        revisions = {}
        for address in changes.addresses:
            row = self._row(address)
            if not (row.was_used and row.was_read) or row.is_outdated:
                continue
            if row.revision is None:
                raise ValueError("a guarded unit of work needs a client whose get_encoded returns revisions")
            revisions[address] = row.revision
        return revisions

    def _changes(self, values: Mapping[KeyValueStore.Key, Any]) -> Changes:
        """Return the changes that set these fields. They hold texts, because blocks may change the values later."""
        fields: dict[RowAddress, dict[str, Any]] = defaultdict(dict)
        for key, value in values.items():
            fields[self._address(key)][key.field_name] = value
        return Changes({address: encode_values(named, address.block_key) for address, named in fields.items()})

    def _address(self, key: KeyValueStore.Key) -> RowAddress:
        address = address_of(key)
        if not address.is_shared and not self._is_of(key.user_id):
            raise self._refusal(key.user_id, f"the field {key.field_name!r} of {key.block_scope_id}")
        return address

    def _is_of(self, user_id: Any) -> bool:
        """Tell whether an id is the learner's."""
        # The id may be text, from JSON. A visitor has no id, and "None" is none.
        return user_id == self.user_id or (self.user_id is not None and str(user_id) == str(self.user_id))

    def _refusal(self, user_id: Any, subject: str) -> PermissionDenied:
        """Return the error of a `subject` that belongs to another learner."""
        return PermissionDenied(
            f"this store holds the state of {self.username!r} (id {self.user_id});"
            f" {subject} was asked for user id {user_id}"
        )

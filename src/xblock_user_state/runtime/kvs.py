"""XBlock's key-value store over the user state client: how blocks' fields reach the learner's state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError
from msgspec import Raw
from opaque_keys.edx.keys import UsageKey
from xblock.core import XBlock
from xblock.exceptions import KeyValueMultiSaveError
from xblock.fields import Scope, UserScope
from xblock.runtime import KeyValueStore

from xblock_user_state.interface import PermissionDenied, UserStateError, XBlockUserStateClient
from xblock_user_state.runtime.changes import Changes
from xblock_user_state.runtime.destinations import Destination, Nowhere, ToClient, ToSession
from xblock_user_state.runtime.grades import is_at_least, score_of
from xblock_user_state.runtime.places import Place, place_of, places_of_block, places_of_class
from xblock_user_state.runtime.row_cache import CachedRow
from xblock_user_state.state.change import Score
from xblock_user_state.state.codec import decode_field, encode_fields
from xblock_user_state.state.keys import checked_block


class UserStateKeyValueStore(KeyValueStore):
    """The four learner scopes of one learner's blocks and asides; make one for each request.

    Give it to `xblock.runtime.KvsFieldData`. What authors write (content, settings, children) belongs elsewhere: a
    key of such a scope is an ``InvalidScopeError``, and a key of another learner `PermissionDenied`.

    A row is read once, with all of its fields, and kept, also if it is not there: one statement for each block and
    scope that nobody has prefetched. Writes keep what was read true, and a write that fails changes nothing of it. What
    others commit meanwhile is not seen, nor is it undone; nor is it seen if a transaction around this store is rolled
    back, so make a new store then. Values are fresh objects, which blocks may change as they like.
    """

    def __init__(
        self,
        client: XBlockUserStateClient,
        user: Any,
        *,
        read_only: bool = False,
        session: MutableMapping[str, Any] | None = None,
    ) -> None:
        """`user` is one of Django's, or what a host's tests put in its place: an id and a username.

        Where `read_only`, writes are dropped and counted, for crawlers and previews. With a `session`, the Django
        session of staff who act as `user`, writes stay in that session; the learner's own state shows through, and is
        never touched. Either way the blocks of this request see what they wrote.
        """
        if read_only and session is not None:
            raise ValueError("read_only drops what a session would keep: give one of the two")
        self._client = client
        self._user_id = user.id
        self._username: str = user.get_username() if hasattr(user, "get_username") else user.username
        self._destination = self._destined(read_only=read_only, session=session)
        self._rows: dict[Place, CachedRow] = {}
        self._collected: Changes | None = None

    def _destined(self, *, read_only: bool, session: MutableMapping[str, Any] | None) -> Destination:
        if session is not None:
            return ToSession(session, self._user_id)
        return Nowhere() if read_only else ToClient(self._client, self._username)

    @property
    def dropped_writes(self) -> int:
        """The number of changes of a row that `read_only` has dropped."""
        return self._destination.dropped

    def prefetch(self, blocks: Iterable[XBlock]) -> None:
        """Read what these blocks and their asides may ask for: one statement for each scope that they declare.

        Nothing that a block or an aside asks for later takes a statement, be it there or not. Asides are those that the
        runtime of a block gives (`get_asides`). Children are read if they are among `blocks`.
        """
        asked = [each for block in blocks for each in (block, *block.runtime.get_asides(block))]
        self._read(place for each in asked for place in places_of_block(each))

    def prefetch_keys(self, blocks: Iterable[tuple[UsageKey, type[XBlock]]]) -> None:
        """Do the same without instances: for usage keys and the classes that declare their blocks' fields.

        An aside is named by its own usage key and class. Give classes as the runtime makes blocks of them, mixed with
        its mixins, if those have learners' fields.
        """
        self._read(place for usage_key, block_class in blocks for place in places_of_class(usage_key, block_class))

    @contextmanager
    def unit_of_work(self) -> Iterator[None]:
        """Collect all that blocks save, and commit it as one when the ``with`` block ends: for a view, or a handler.

        One transaction; one revision and one history entry a block, scores included. Reads see what was collected. An
        exception keeps none of it and forgets it; so does a failure of the commit, which is raised as the client raises
        it. A unit inside of a unit joins it, and takes back its own part only if it fails.

        XBlock takes fields for saved when they are collected: throw blocks away with a unit that failed.
        """
        outer = self._collected
        self._collected = outer or Changes()
        try:
            yield
        except BaseException:
            self._collected = outer
            raise
        if outer is None:
            collected, self._collected = self._collected, None
            self._commit(collected)

    def get(self, key: KeyValueStore.Key) -> Any:
        """Return the value that was stored, as plain JSON; ``KeyError`` if there is none."""
        text = self._find(key)
        if text is None:
            raise KeyError(repr(key))
        return decode_field(text)

    def has(self, key: KeyValueStore.Key) -> bool:
        return self._find(key) is not None

    def set(self, key: KeyValueStore.Key, value: Any) -> None:
        self._write(self._changes({key: value}))

    def set_many(self, update_dict: Mapping[KeyValueStore.Key, Any]) -> None:
        """Write all of it, whatever its scopes and blocks, in one transaction, or collect it for the unit of work.

        A failure is a ``KeyValueMultiSaveError`` that names no field as saved, because none was.
        """
        changes = self._changes(update_dict)
        try:
            self._write(changes)
        except (UserStateError, DatabaseError) as error:
            raise KeyValueMultiSaveError([]) from error

    def delete(self, key: KeyValueStore.Key) -> None:
        """Remove one value; ``KeyError`` if there is none."""
        if not self.has(key):
            raise KeyError(repr(key))
        self._write(Changes({self._place(key): {key.field_name: None}}))

    def publish(self, block: XBlock, event_type: str, event_data: Mapping[str, Any]) -> None:
        """Keep the score of a ``grade`` event: the runtime's `publish` may hand all events on, others are ignored.

        The event has ``value`` and ``max_value``; ``None`` for both takes the score away. Where it says
        ``only_if_higher``, a score that is lower than the one there is, as a share of its maximum, is ignored; that
        reads the score, and of two requests at once both may find theirs to be higher. A ``user_id`` of another learner
        is `PermissionDenied`.
        """
        if event_type != "grade":
            return
        block_key = block.scope_ids.usage_id
        if event_data.get("user_id") is not None:
            self._check_learner(event_data["user_id"], f"a grade in {block_key}")
        place, score = Place(Scope.user_state, checked_block(block_key)), score_of(event_data, block_key)
        if not event_data.get("only_if_higher") or is_at_least(score, self._score(place)):
            self._write(Changes(scores={place: score}))

    def _score(self, place: Place) -> Score:
        """Return the score that the learner would have if the unit of work ended now."""
        if self._collected is not None and place in self._collected.scores:
            return self._collected.scores[place]
        found = self._client.get_scores(self._username, [place.block_key])
        return next((Score(score.grade, score.max_grade) for score in found.values()), Score(None, None))

    def _find(self, key: KeyValueStore.Key) -> Raw | None:
        """Return the text of a field, ``None`` if it is absent."""
        place = self._place(key)
        collected = self._collected.fields.get(place, {}) if self._collected else {}
        if key.field_name in collected:
            return collected[key.field_name]
        row = self._row(place)
        if not row.knows(key.field_name):
            self._read([place])
        return row.get(key.field_name)

    def _read(self, places: Iterable[Place]) -> None:
        """Read those of these rows that were not read yet: one statement a scope."""
        unread: dict[Scope, set[Place]] = defaultdict(set)
        for place in places:
            if not self._row(place).was_read:
                unread[place.scope].add(place)
        for scope, rows in unread.items():
            keys = {place: place.block_key for place in rows}
            found = self._client.get_encoded(self._username, keys.values(), scope)
            for place, block_key in keys.items():
                self._row(place).read(found.get(block_key))

    def _row(self, place: Place) -> CachedRow:
        row = self._rows.get(place)
        if row is None:
            row = self._rows[place] = CachedRow(self._destination.earlier(place))
        return row

    def _write(self, changes: Changes) -> None:
        if self._collected is None:
            self._commit(changes)
        else:
            self._collected = self._collected.then(changes)

    def _commit(self, changes: Changes) -> None:
        if not changes.places:
            return
        self._destination.commit(changes)
        for place, fields in changes.fields.items():
            self._row(place).write(fields)

    def _changes(self, values: Mapping[KeyValueStore.Key, Any]) -> Changes:
        """Return what sets these fields. Their texts are made now: blocks may go on changing the values."""
        fields: dict[Place, dict[str, Any]] = defaultdict(dict)
        for key, value in values.items():
            fields[self._place(key)][key.field_name] = value
        return Changes({place: encode_fields(named, place.block_key) for place, named in fields.items()})

    def _place(self, key: KeyValueStore.Key) -> Place:
        place = place_of(key)
        if key.scope.user == UserScope.ONE:
            self._check_learner(key.user_id, f"the field {key.field_name!r} of {key.block_scope_id}")
        return place

    def _check_learner(self, user_id: Any, what: str) -> None:
        if user_id != self._user_id:
            raise PermissionDenied(
                f"this store holds the state of {self._username!r} (id {self._user_id}); {what} was asked for user id"
                f" {user_id}"
            )

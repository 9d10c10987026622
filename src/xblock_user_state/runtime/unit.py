"""The unit of work of a request, which the stores of several learners may share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from xblock_user_state.interface import Conflict, ServiceUnavailable
from xblock_user_state.runtime.addresses import RowAddress
from xblock_user_state.runtime.changes import Changes, FieldChanges

_NONE = Changes()
_NO_FIELDS: FieldChanges = {}


@dataclass(frozen=True, eq=False)
class Member:
    """A store of one learner in the unit.

    `commit` commits the learner's changes in one transaction, or raises and commits none; its second argument tells
    that the unit is guarded. `place` is equal for the stores that write a row of all learners to one place.
    """

    username: str
    commit: Callable[[Changes, bool], None]
    place: object


class Unit:
    """Collected changes by store, and the handlers that run.

    Each learner's changes are one transaction, because one transaction of a client touches one learner. The `owner`,
    the learner of the request, is committed last: a block is rebound to save something for another learner, so that
    learner's changes must not depend on the place of the owner's, which may be a cache. A transaction around the unit,
    such as the lock of a second attempt (`run_guarded`), takes all of them back.

    A row that all learners share is collected once for each place: the store that has changed it last commits it. Two
    commits of one row would be in conflict with each other, or the later one would undo the earlier.
    """

    def __init__(self, owner: Member) -> None:
        self.is_guarded = False
        self.running: tuple[str, ...] = ()
        self._owner = owner
        self._collected: dict[Member, Changes] | None = None

    @property
    def is_open(self) -> bool:
        return self._collected is not None

    def collected_fields(self, member: Member, address: RowAddress) -> FieldChanges:
        """Return the changed fields of a row so far, as this store sees it."""
        # Most reads are of a page that has collected nothing yet.
        if not self._collected:
            return _NO_FIELDS
        return self.collected(member, address).fields.get(address, _NO_FIELDS)

    def collected(self, member: Member, address: RowAddress) -> Changes:
        """Return the changes of a row so far, as this store sees it; empty without an open unit."""
        collected = self._collected or {}
        if not address.is_shared:
            return collected.get(member, _NONE)
        holders = (held for holder, held in collected.items() if holder.place == member.place)
        return next((held for held in holders if address in held.fields), _NONE)

    def collect(self, member: Member, changes: Changes) -> None:
        """Add changes of a store to the open unit."""
        # A new object: the outer unit of work keeps its own, in case this one fails.
        collected = {**(self._collected or {})}
        own = collected.pop(member, _NONE)
        shared = {address for address in changes.fields if address.is_shared}
        for holder, held in collected.items():
            if holder.place == member.place and not shared.isdisjoint(held.fields):
                taken, collected[holder] = held.parted(shared)
                own = own.then(taken)
        self._collected = {**collected, member: own.then(changes)}

    @contextmanager
    def work(self, *, guarded: bool) -> Iterator[None]:
        """Collect the changes of all stores while the ``with`` block runs. The end of the outermost commits them."""
        outer, outer_is_guarded = self._collected, self.is_guarded
        self._collected = outer or {}
        self.is_guarded = outer_is_guarded or guarded
        try:
            yield
        # Also an exit: changes that stay collected would be committed by the next unit.
        except BaseException:
            self._collected, self.is_guarded = outer, outer_is_guarded
            raise
        if outer is None:
            collected, self._collected = self._collected, None
            is_guarded, self.is_guarded = self.is_guarded, False
            self._commit(collected, is_guarded)

    def _commit(self, collected: dict[Member, Changes], guarded: bool) -> None:
        committed: list[str] = []
        changed = [member for member, changes in collected.items() if changes.addresses]
        for member in sorted(changed, key=lambda each: each is self._owner):
            try:
                member.commit(collected[member], guarded)
            except Exception as error:
                if not committed:
                    raise
                message = f"the changes of {member.username!r} were not saved, after those of {committed} were"
                if isinstance(error, Conflict):
                    # Not a conflict any more: a repetition would make the committed changes twice.
                    raise ServiceUnavailable(message) from error
                error.add_note(message)
                raise
            committed.append(member.username)

    @contextmanager
    def handling(self, handler_name: str) -> Iterator[None]:
        """Keep the name of a running handler."""
        outer = self.running
        # The outer handlers run too: a handler that may publish no grade can't do it through another one.
        self.running = (*outer, handler_name)
        try:
            yield
        finally:
            self.running = outer

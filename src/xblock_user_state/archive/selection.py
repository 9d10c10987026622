"""Reads the history of many learners for `export_history`: decoded, and merged from all stores that readers see.

Pages over the state rows by key, and reads the entries learner by learner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from xblock_user_state.history.entries import Key, Owner
from xblock_user_state.history.models import BaseStudentModuleHistory
from xblock_user_state.history.reading import PAGE, BlockHistory
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.naming import block_names
from xblock_user_state.maintenance.paging import owner_pages, owners_with_history
from xblock_user_state.state import codec
from xblock_user_state.store.users import Usernames


@dataclass(frozen=True)
class Selection:
    """A selection of entries in the state's `database`: all, or limited to a learner, blocks and a time range.

    `block_ids` is sorted. `since` belongs to the range, `until` does not.
    """

    database: str
    student_id: Any = None
    block_ids: Sequence[int] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def entries(self, after: Key | None = None) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Yield keys and entries, from the entry that follows `after`. Entries of an owner come together, newest first.

        Raises `UserStateError` or a database error.
        """
        usernames = Usernames()
        begun = None if after is None else after.owner
        # The owner at which the export was interrupted; its newer entries are in complete parts.
        if begun is not None and after is not None:
            yield from self._of_page([begun], usernames, before_revision=after.revision)
        for page in owner_pages(self.database, self.student_id, self.block_ids, begun):
            recorded = owners_with_history(self.database, page)
            yield from self._of_page([owner for owner in page if owner in recorded], usernames)

    def _of_page(
        self, owners: Sequence[Owner], usernames: Usernames, before_revision: int | None = None
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        learners = usernames.of({owner.student_id for owner in owners})
        blocks = block_names(self.database, {owner.block_id for owner in owners})
        for owner in owners:
            history = BlockHistory(self.database, *owner).newest_first(before_revision=before_revision)
            entries = self._in_range(history)
            # Names of actors are looked up for a page of entries, not for each.
            while some := list(islice(entries, PAGE)):
                actors = usernames.of({entry.actor_id for entry in some if entry.actor_id is not None})
                for entry in some:
                    of_owner = {"learner": learners.get(owner.student_id), **blocks[owner.block_id]._asdict()}
                    yield Key(*owner, entry.revision), {**of_owner, **_exported(entry, actors)}

    def _in_range(self, entries: Iterator[BaseStudentModuleHistory]) -> Iterator[BaseStudentModuleHistory]:
        for entry in entries:
            # Times fall strictly with the revisions, so all further entries are too old.
            if self.since is not None and entry.created < self.since:
                return
            if self.until is None or entry.created < self.until:
                yield entry


def _exported(entry: BaseStudentModuleHistory, actors: Mapping[Any, str]) -> dict[str, Any]:
    columns = {
        "revision": entry.revision,
        "created": entry.created.astimezone(UTC).isoformat(timespec="microseconds"),
        "grade": entry.grade,
        "max_grade": entry.max_grade,
        "actor": actors.get(entry.actor_id),
    }
    try:
        text = entry.state
        return {**columns, "state": None if text is None else codec.decode_state(text)}
    except DamagedHistory as error:
        return {**columns, "damaged": str(error)}
    except codec.NotAState as error:
        return {**columns, "damaged": f"revision {entry.revision} can't be read: {error}"}

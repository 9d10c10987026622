"""Reads the early entries of a learner in a block from the archive that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from xblock_user_state import conf
from xblock_user_state.history.archived.catalogue import entries_of
from xblock_user_state.history.archived.manifest import Id
from xblock_user_state.history.archived.parts import Archived
from xblock_user_state.history.archived.places import ArchiveError
from xblock_user_state.history.encoding import encode_plain
from xblock_user_state.history.entries import EntryRow, Owner
from xblock_user_state.history.models import HistoryOutbox, StudentModuleHistory
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.metrics import current, names


class ArchiveUnreadable(ServiceUnavailable):
    """A part of the history is in the archive only, which can't be read."""


def early_entries(owner: Owner, newest: int) -> Iterator[EntryRow]:
    """Yield the entries that the archive has from the revision `newest` down, with plain bodies.

    Raises `ArchiveUnreadable`, at once.
    """
    url = conf.history_archive()
    if url is None:
        return iter(())
    try:
        found = entries_of(url, archived_id(owner.student_id), owner.block_id, newest)
    except (OSError, ArchiveError) as error:
        current.count(names.UNAVAILABLE, 1, "history")
        message = f"a part of the history is in the archive {url}, which can't be read: {error}"
        raise ArchiveUnreadable(message) from error
    revisions = range(newest, min(found, default=newest + 1) - 1, -1)
    return map(partial(_row, owner.student_id), map(found.__getitem__, filter(found.__contains__, revisions)))


def archived_id(id_: Any) -> Id:
    """Return the id of a user as the archive has it: a number, or a text."""
    return id_ if isinstance(id_, int) else str(id_)


def user_id_of(id_: Id | None) -> Any:
    """Return the id of a user as the tables have it."""
    if not isinstance(id_, str):
        return id_
    return HistoryOutbox._meta.get_field("actor").target_field.to_python(id_)


def _row(student_id: Any, entry: Archived) -> EntryRow:
    encoding, body = encode_plain(entry.state)
    return EntryRow(
        student_id,
        entry.block_id,
        entry.revision,
        entry.created,
        encoding,
        body,
        entry.grade,
        entry.max_grade,
        entry.version,
        user_id_of(entry.actor_id),
        StudentModuleHistory,
        is_archived=True,
    )

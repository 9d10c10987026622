"""The decoded history of a learner, of a course, or of a learner in a course, as lines: those of `export_history`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from django.core.exceptions import ValidationError

from xblock_user_state import wire
from xblock_user_state.archive.selection import Exported, Selection
from xblock_user_state.history.entries import Key
from xblock_user_state.service.named import RequestClient
from xblock_user_state.service.streams import STATES, Line, checked_alias, read_ahead
from xblock_user_state.state.keys import identify_context
from xblock_user_state.store.databases import reports_database, state_database
from xblock_user_state.store.iteration import blocks_of
from xblock_user_state.store.transactions import errors_translated

_key = msgspec.json.Decoder(tuple[str, str, str])


def export_history(client: RequestClient, call: wire.ExportHistory) -> Iterator[Line]:
    """Return the lines of the entries. The policy is asked whether the caller may see all of these histories."""
    learner, course = wire.unpack_learner(call.learner), wire.unpack_course(call.course)
    if not learner and course is None:
        raise ValueError("an export is that of a learner, of a course, or of a learner in a course")
    after = _unpack_key(call.resume)
    replica = reports_database(checked_alias(call.using))
    student_id = client.learner_to_see(learner or None, course)
    if learner and student_id is None:
        return iter([wire.EndLine()])
    database = state_database()
    block_ids = None
    if course is not None:
        with errors_translated(database):
            block_ids = sorted(blocks_of(database, identify_context(course), None))
    selection = Selection(
        database, student_id, block_ids, call.since, call.until, None if replica == database else replica
    )
    return _lines(read_ahead(selection.entries(after)))


def _lines(entries: Iterator[Exported]) -> Iterator[Line]:
    for number, (key, line, _) in enumerate(entries, 1):
        yield wire.EntryLine(entry=wire.pack_json(line.rstrip("\n")))
        if number % STATES == 0:
            yield wire.ResumeLine(resume=msgspec.json.encode(key.texts()).decode())
    yield wire.EndLine()


def _unpack_key(token: str | None) -> Key | None:
    """Return the entry of a token. Any entry is harmless: those that follow it are among those of the call."""
    if token is None:
        return None
    try:
        return Key.from_texts(_key.decode(token))
    except (msgspec.DecodeError, ValidationError, ValueError):
        raise ValueError(f"resume is {token[:60]!r}, no place in an export") from None

"""Translates calls into calls of the client, and results into answers. Knows nothing of HTTP."""

from __future__ import annotations

from typing import Any

from xblock.fields import Scope

from xblock_user_state import conf, wire
from xblock_user_state.clients.base import CheckedClient
from xblock_user_state.clients.batch import ChangeSet
from xblock_user_state.interface import BlockKey
from xblock_user_state.state import codec
from xblock_user_state.state.keys import row_key

_ENTRIES = 100
"""Entries of a history in one answer."""


def read_rows(client: CheckedClient, call: wire.ReadRows) -> wire.Rows:
    """`get_many`, `get_encoded_rows`."""
    found = client.read_rows(wire.unpack_learner(call.learner), [each.unpack() for each in call.rows])
    return wire.Rows(rows=[row and wire.StoredRow.of(row) for row in found])


def read_scores(client: CheckedClient, call: wire.ReadScores) -> wire.Scores:
    """`get_scores`."""
    keys = [_block(each) for each in call.rows]
    found = client.get_scores(wire.unpack_learner(call.learner), keys)
    return wire.Scores(scores=[(score := found.get(key)) and wire.StoredScore.of(score) for key in keys])


def read_history(client: CheckedClient, call: wire.ReadHistory) -> wire.Entries:
    """A page of `get_history`: a bounded number of entries, and of bytes."""
    scope, key = call.row.unpack()
    learner, most = wire.unpack_learner(call.learner), conf.value("SERVICE_ANSWER_BYTES") // 2
    entries: list[wire.StoredEntry] = []
    size = 0
    for entry in client.get_history(learner, key, scope, call.limit, call.before_revision):
        entries.append(wire.StoredEntry.of(entry))
        size += len(wire.unpack_json(entries[-1].state) or "")
        if len(entries) == _ENTRIES or size > most:
            return wire.Entries(entries=entries, more=len(entries) != call.limit)
    return wire.Entries(entries=entries)


def read_latest(client: CheckedClient, call: wire.ReadLatest) -> wire.FoundRows:
    """`get_latest`."""
    course = wire.unpack_course(call.course)
    found = client.get_latest(wire.unpack_learner(call.learner), call.limit, course)
    rows = [
        wire.FoundRow.of_key(
            each.scope,
            each.block_key,
            revision=each.revision,
            state=wire.pack_json(None if each.state is None else codec.encode(each.state)),
            updated=each.updated,
        )
        for each in found
    ]
    return wire.FoundRows(rows=rows)


def find_blocks(client: CheckedClient, call: wire.FindBlocks) -> wire.FoundKeys:
    """`find_blocks`."""
    found = client.find_blocks(wire.unpack_key(Scope.user_state, call.key))  # type: ignore[arg-type]  # it checks
    return wire.FoundKeys(blocks=[wire.Address.of_key(Scope.user_state, key) for key in found])


def write(client: CheckedClient, call: wire.Write) -> wire.Rows:
    """All writes, by a batch."""
    changes = [(*change.unpack(), change) for change in call.changes]
    conditions: dict[tuple[Scope, Any], int] = {}
    for scope, key, change in changes:
        revision = change.if_revision
        if revision is not None and conditions.setdefault((scope, key), revision) != revision:
            raise ValueError(f"{key} is given two revisions, {conditions[scope, key]} and {revision}")
    learner = wire.unpack_learner(call.learner)
    with client.batch(learner, only_new=call.only_new, if_revisions=conditions or None) as batch:
        for scope, key, change in changes:
            _collect(batch, scope, key, change)
    found = [batch.written.get(scope, {}).get(row_key(key, scope)) for scope, key, _ in changes]
    return wire.Rows(rows=[row and wire.StoredRow.of(row, with_state=False) for row in found])


def _collect(batch: ChangeSet, scope: Scope, key: BlockKey, change: wire.RowChange) -> None:
    for edit in change.edits:
        if isinstance(edit, wire.DeleteFields):
            batch.delete(key, wire.unpack_names(edit.fields), scope)
        elif isinstance(edit, wire.SetFields):
            # The client refuses null in its own words.
            batch.set(key, wire.unpack_state(edit.state), scope)  # type: ignore[arg-type]
        else:
            batch.replace(key, wire.unpack_state(edit.state), scope)
    if change.score is not None:
        batch.set_score(_block(change), change.score.grade, change.score.max_grade)


def _block(address: wire.Address) -> Any:
    """Return the key of a block that has a score. Raises ``ValueError`` for another scope."""
    scope, key = address.unpack()
    if scope is not Scope.user_state:
        raise ValueError(f"only user_state has scores, not {scope.name}")
    return key

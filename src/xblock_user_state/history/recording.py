"""Appends history entries in the transaction that writes the state, for single and bulk writes alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.db import connections, transaction

from xblock_user_state import conf
from xblock_user_state.history import shipping
from xblock_user_state.metrics.calls import report_history
from xblock_user_state.metrics.current import reporter
from xblock_user_state.models import BaseStudentModuleHistory, HistoryOutbox, StudentModule, StudentModuleHistory
from xblock_user_state.state.arguments import RowKey
from xblock_user_state.state.change import Row
from xblock_user_state.state.encoding import encode_compact, encode_plain, next_chain
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.base import Target, Values
from xblock_user_state.store.tables import Table
from xblock_user_state.store.writer import Changed

_COLUMNS = ("block_id", "revision", "created", "encoding", "body", "grade", "max_grade")


@dataclass(frozen=True)
class HistoryRecorder:
    """Keeps the history of one learner's changes. Only scope ``user_state`` has one, and only recorded block types."""

    database: str
    student_id: Any
    actor_id: Any

    def chained(self, table: Table, key: RowKey, before: Row | None, after: Row) -> Row:
        """Return the row `after` with the place of its history entry in the chain, which the state keeps."""
        if not _is_recorded(table, key) or after.text is None:
            return replace(after, chain=0)
        return replace(after, chain=next_chain(before.chain) if before and conf.is_compact() else 1)

    def append(self, table: Table, changed: Changed) -> None:
        """Append an entry for each changed row that is recorded. One statement at most.

        To the default history, or to the outbox of the extended one, from where it is shipped after the commit.
        """
        entries = sorted(self._entries(table, changed))
        if not entries:
            return
        extended = conf.writes_extended_history()
        model: type[BaseStudentModuleHistory] = HistoryOutbox if extended else StudentModuleHistory
        connection = connections[self.database]
        pinned = {"student_id": self.student_id, "actor_id": self.actor_id}
        dialect_of(connection).insert(Target(connection, model, _COLUMNS, pinned), entries)
        if reporter() is not None:
            report_history(self.database, "outbox" if extended else "default", [entry[4] for entry in entries])
        if extended and conf.ships_at_once():
            ship = partial(shipping.ship_at_once, self.database, self.student_id, [entry[0] for entry in entries])
            transaction.on_commit(ship, using=self.database, robust=True)

    def _entries(self, table: Table, changed: Changed) -> Iterator[Values]:
        for key, (before, after) in changed.items():
            if isinstance(key, BlockId) and _is_recorded(table, key):
                encoding, body = _encoded(before, after)
                yield key.id, after.revision, after.modified, encoding, body, after.grade, after.max_grade


def _is_recorded(table: Table, key: RowKey) -> bool:
    return table.model is StudentModule and isinstance(key, BlockId) and conf.is_recorded(key.block_type)


def _encoded(before: Row | None, after: Row) -> tuple[int, bytes | None]:
    if not conf.is_compact():
        return encode_plain(after.text)
    return encode_compact(after.text, before.text if before and after.chain > 1 else None)

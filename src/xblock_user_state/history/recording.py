"""Makes the history entries that the writer inserts with the state, for single and bulk writes alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connections
from django.db.models import Max

from xblock_user_state import conf
from xblock_user_state.history.encoding import checksum, encode_compact, encode_plain, next_chain
from xblock_user_state.history.entries import all_rows
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory
from xblock_user_state.metrics.calls import report_history
from xblock_user_state.metrics.current import reporter
from xblock_user_state.state.change import DELETED, Row
from xblock_user_state.state.keys import BlockId, RowKey, is_among
from xblock_user_state.store.dialects.rows import Rows, Target, Values
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.tables import Table
from xblock_user_state.store.writer import Changed

_COLUMNS = ("block_id", "revision", "created", "encoding", "grade", "max_grade", "body")


@dataclass(frozen=True)
class HistoryRecorder:
    """Makes the history entries of one write of one learner: for recorded block types in scope ``user_state``.

    The writer calls it through the protocol `Recorder` of the store, which knows nothing of history.
    """

    database: str
    student_id: Any
    actor_id: Any
    # Read once, so that all rows of a write follow the same settings.
    recorded_block_types: Collection[str] = field(default_factory=conf.recorded_block_types)
    writes_deltas: bool = field(default_factory=conf.writes_deltas)
    looks_for_entries: bool = field(default_factory=conf.is_partitioned_by_time)

    def chained(self, table: Table, key: RowKey, before: Row | None, after: Row) -> Row:
        """Return the row `after` with ``chain`` and ``checksum``: place and checksum of its history entry."""
        # The state row keeps the place, so that a write need not read history to choose between full entry and delta.
        if not self._is_recorded(table, key) or after.text is None:
            return after._replace(chain=0, checksum=None)
        if after.text == DELETED:
            return Row(*after[:-2], 1, checksum(after.revision, DELETED))
        # A delta is read against the text of the revision before. SQL may have given the row another of either.
        is_base = (
            before is not None and before.text is not None and before.checksum == checksum(before.revision, before.text)
        )
        chain = next_chain(before.chain) if before and is_base and self.writes_deltas else 1
        return Row(*after[:-2], chain, checksum(after.revision, after.text))

    def entries(self, table: Table, changed: Changed) -> Rows | None:
        """Return entries for the recorded rows among the changed ones, in key order; ``None`` if there are none.

        Their target is the default history, or the outbox if new entries go to the extended history.
        """
        entries = sorted(self._entries(table, changed))
        if not entries:
            return None
        model = HistoryOutbox if conf.writes_extended_history() else StudentModuleHistory
        pinned = {"student_id": self.student_id, "actor_id": self.actor_id}
        return Rows(Target(connections[self.database], model, _COLUMNS, pinned), entries)

    def newest_revisions(self, table: Table, keys: Collection[RowKey]) -> Mapping[RowKey, int]:
        """Return the newest revision that the outbox and the default history have of each key. Two statements."""
        newest: dict[RowKey, int] = {}
        for model in (HistoryOutbox, StudentModuleHistory):
            for key, revision in self._newest(model, table, keys):
                newest[key] = max(revision, newest.get(key, 0))
        return newest

    def taken(self, table: Table, changed: Changed) -> list[RowKey]:
        """Return the keys of which the default history has an entry of the new revision, or of a later one.

        One statement where new entries go to a table that is partitioned by time. Elsewhere none: a key of the table
        forbids a second entry.
        """
        if not (self.looks_for_entries and changed) or conf.writes_extended_history():
            return []
        lowest = min(after.revision for _, after in changed.values())
        newest = dict(self._newest(StudentModuleHistory, table, changed, revision__gte=lowest))
        return [key for key, (_, after) in changed.items() if newest.get(key, 0) >= after.revision]

    def written(self, entries: Rows) -> None:
        """Report the entries, and ship them after the commit unless the relay ships; report the backlog if due."""
        is_extended = entries.target.model is HistoryOutbox
        if reporter() is not None:
            report_history(self.database, "outbox" if is_extended else "default", [body for *_, body in entries.values])
        if is_extended:
            self._ship([block_id for block_id, *_ in entries.values])

    def _ship(self, block_ids: list[int]) -> None:
        # Late: most processes have no extended history, and would load what they never use.
        from xblock_user_state.history.outbox import backlog, shipping  # noqa: PLC0415

        if conf.ships_at_once():
            shipping.ship_after_commit(self.database, self.student_id, block_ids)
        # After the shipment: these entries are no backlog.
        backlog.REPORTS.report_after_commit(self.database)

    def _entries(self, table: Table, changed: Changed) -> Iterator[Values]:
        for key, (before, after) in changed.items():
            if isinstance(key, BlockId) and self._is_recorded(table, key):
                encoding, body = self._encoded(before, after)
                yield key.id, after.revision, after.modified, encoding, after.grade, after.max_grade, body

    def _newest(
        self, model: type[BaseStudentModuleHistory], table: Table, keys: Collection[RowKey], **limits: int
    ) -> Iterator[tuple[RowKey, int]]:
        """Yield the newest revision that a store has of each recorded key, within the limits."""
        blocks = {key.id: key for key in keys if isinstance(key, BlockId) and self._is_recorded(table, key)}
        for some in pieces(self.database, sorted(blocks)):
            rows = all_rows(model, self.database).filter(student_id=self.student_id, block_id__in=some, **limits)
            for block_id, revision in rows.values_list("block_id").annotate(Max("revision")):
                yield blocks[block_id], revision

    def _is_recorded(self, table: Table, key: RowKey) -> bool:
        if table.model is not StudentModule or not isinstance(key, BlockId):
            return False
        return is_among(key.block_type, self.recorded_block_types)

    def _encoded(self, before: Row | None, after: Row) -> tuple[int, bytes | None]:
        # A deleted state is shorter than any delta, and its writer may have looked up no text.
        if not self.writes_deltas or after.text == DELETED:
            return encode_plain(after.text)
        # `chained` has set the place: 1 is a full entry, all others are deltas against the revision before.
        return encode_compact(after.text, before.text if before and after.chain > 1 else None)

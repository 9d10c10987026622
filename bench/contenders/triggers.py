"""django-pghistory: triggers of PostgreSQL, once for each statement, as its documentation advises for bulk writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pghistory
import pgtrigger

from bench.contenders.peers import Peer, PeerModel
from bench.contenders.tables import create_tables
from bench.data import Block, Learner


class TriggersState(PeerModel):
    """A model as others, and a table beside it that triggers copy each version to."""

    class Meta(PeerModel.Meta):
        abstract = False
        db_table = "bench_triggers_state"


_Events: Any = pghistory.create_event_model(
    TriggersState, pghistory.InsertEvent(), pghistory.UpdateEvent(), level=pghistory.Statement
)


class TriggersEvent(_Events):
    """The copies."""

    class Meta:
        app_label = "bench"
        db_table = "bench_triggers_event"


class Triggers(Peer):
    """The database makes the entries by itself."""

    model: type[PeerModel] = TriggersState
    tables = (TriggersState._meta.db_table, TriggersEvent._meta.db_table)

    def create(self) -> None:
        """Make the tables and the triggers."""
        create_tables(TriggersState, TriggersEvent)
        pgtrigger.install()

    def insert(self, rows: Sequence[PeerModel]) -> None:
        """Insert rows."""
        self.model._base_manager.bulk_create(rows)

    def update(self, rows: Sequence[PeerModel]) -> None:
        """Write rows."""
        self.model._base_manager.bulk_update(rows, ["state", "modified"])

    def recorded(self, learner: Learner, block: Block) -> list[str | None]:
        """Return the recorded texts, newest first."""
        entries = TriggersEvent._base_manager.filter(student_id=learner.id, usage_key=block.usage_key)
        return list(entries.order_by("-pgh_id").values_list("state", flat=True))

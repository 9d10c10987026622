"""The peer django-pghistory, with a PostgreSQL trigger per statement as its documentation advises for bulk writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pghistory
import pgtrigger

from bench.contenders.peers import Peer, PeerModel
from bench.contenders.tables import create_tables
from bench.site.data import Block, Learner


class TriggersState(PeerModel):
    """The peers' model; triggers copy each version to `TriggersEvent`."""

    class Meta(PeerModel.Meta):
        abstract = False
        db_table = "bench_triggers_state"


_Events: Any = pghistory.create_event_model(
    TriggersState, pghistory.InsertEvent(), pghistory.UpdateEvent(), level=pghistory.Statement
)


class TriggersEvent(_Events):
    """Copies of all versions."""

    class Meta:
        app_label = "bench"
        db_table = "bench_triggers_event"


class Triggers(Peer):
    """Leaves the entries to the database."""

    model: type[PeerModel] = TriggersState
    tables = (TriggersState._meta.db_table, TriggersEvent._meta.db_table)

    def create(self) -> None:
        create_tables(TriggersState, TriggersEvent)
        pgtrigger.install()

    def insert(self, rows: Sequence[PeerModel]) -> None:
        self.model._base_manager.bulk_create(rows)

    def update(self, rows: Sequence[PeerModel]) -> None:
        self.model._base_manager.bulk_update(rows, ["state", "modified"])

    def recorded(self, learner: Learner, block: Block) -> list[str | None]:
        entries = TriggersEvent._base_manager.filter(student_id=learner.id, usage_key=block.usage_key)
        return list(entries.order_by("-pgh_id").values_list("state", flat=True))

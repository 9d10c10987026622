"""The peer django-simple-history, through its bulk functions."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection
from simple_history.models import HistoricalRecords
from simple_history.utils import bulk_create_with_history, bulk_update_with_history

from bench.contenders.peers import Peer, PeerModel
from bench.contenders.tables import create_tables
from bench.site.data import Block, Learner
from bench.site.filling import Rows


class SimpleHistoryState(PeerModel):
    """The peers' model; django-simple-history copies each version to a table beside it."""

    history = HistoricalRecords()

    class Meta(PeerModel.Meta):
        abstract = False
        db_table = "bench_simple_history_state"


_HISTORY = SimpleHistoryState.history.model


class SimpleHistory(Peer):
    """Makes the entries in Python, one for each row of a bulk."""

    model = SimpleHistoryState
    tables = (SimpleHistoryState._meta.db_table, _HISTORY._meta.db_table)

    def create(self) -> None:
        create_tables(SimpleHistoryState, _HISTORY)

    def fill(self, rows: Rows) -> None:
        super().fill(rows)
        state, history = self.tables
        columns = "id, course_key, usage_key, state, created, modified, student_id"
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {history} ({columns}, history_date, history_type) SELECT {columns}, created, '+'"
                f" FROM {state} AS s WHERE s.id > (SELECT COALESCE(MAX(h.id), 0) FROM {history} AS h)"
            )

    def insert(self, rows: Sequence[PeerModel]) -> None:
        bulk_create_with_history(rows, SimpleHistoryState)

    def update(self, rows: Sequence[PeerModel]) -> None:
        bulk_update_with_history(rows, SimpleHistoryState, ["state", "modified"])

    def recorded(self, learner: Learner, block: Block) -> list[str | None]:
        entries = SimpleHistoryState.history.filter(student_id=learner.id, usage_key=block.usage_key)
        return list(entries.order_by("-history_id").values_list("state", flat=True))

"""Gauges of the outbox's backlog: an old entry tells an operator that shipping has stopped."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db.models import Count, Min
from django.db.utils import Error

from xblock_user_state.history.entries import all_rows
from xblock_user_state.history.models import HistoryOutbox
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import reporter

REPORT_SECONDS = 10.0
"""Seconds between two reports during a long pass of the relay."""


@dataclass
class BacklogGauges:
    """Depth and age of the outbox in the state's `database`. Sends no statement if there is no metrics sink."""

    database: str
    _reported_at: float = field(default_factory=time.monotonic)

    def report(self) -> None:
        """Report both gauges. One statement, which scans the outbox: a tenth of a second for a million rows."""
        to = reporter()
        if to is None:
            return
        self._reported_at = time.monotonic()
        # The relay's own statements meet the same errors, and the relay reports them. A gauge must not end its pass.
        with suppress(Error):
            rows = all_rows(HistoryOutbox, self.database)
            found = rows.aggregate(depth=Count("*"), oldest=Min("created"))
            to.record(names.OUTBOX_DEPTH, found["depth"])
            to.record(names.OUTBOX_AGE, _seconds_since(found["oldest"]))

    def report_when_due(self) -> None:
        """Report if the last report is `REPORT_SECONDS` ago."""
        if time.monotonic() - self._reported_at >= REPORT_SECONDS:
            self.report()


def _seconds_since(moment: datetime | None) -> float:
    """Return the age in seconds of the oldest entry; 0 if the outbox is empty."""
    # Never negative: the clock of the machine that wrote the entry may be ahead of this machine's.
    return max(0.0, (datetime.now(UTC) - moment).total_seconds()) if moment else 0.0

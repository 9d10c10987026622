"""Gauges of the outbox's backlog: an old entry tells an operator that shipping has stopped.

The relay reports them at each pass. Processes that write entries report them now and then, because a relay that does
not run reports nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock

from django.db import connections, transaction
from django.db.models import Count, Min
from django.db.utils import Error

from xblock_user_state.history.entries import all_rows
from xblock_user_state.history.models import HistoryOutbox
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import reporter

REPORT_SECONDS = 10.0
"""Seconds between two reports during a long pass of the relay."""

PROCESS_SECONDS = 60.0
"""Minimum seconds between two reports of a process that writes entries."""

MOST_OF_THE_TIME = 0.01
"""The largest share of its time that such a process spends on reports: a long statement makes the next report later."""


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


@dataclass
class RareReports:
    """Reports of one process that writes entries. Its threads share them: one thread reports, the others go on."""

    clock: Callable[[], float] = time.monotonic
    # A process that ends within seconds reports nothing, and a new worker does not start with a report.
    due_at: float = field(default_factory=lambda: time.monotonic() + PROCESS_SECONDS)
    _lock: Lock = field(default_factory=Lock)

    def report_after_commit(self, database: str) -> None:
        """After the commit, report the backlog if a report is due. Without a metrics sink it costs no statement."""
        if reporter() is not None:
            # A function and no `partial`: Django logs the name of a callback that raises.
            transaction.on_commit(lambda: self._report(database), using=database, robust=True)

    def _report(self, database: str) -> None:
        # A caller that commits by hand is at the begin of its next transaction, which is not ours to open.
        if connections[database].get_autocommit() and self._is_due():
            started = self.clock()
            BacklogGauges(database).report()
            self.due_at = max(self.due_at, started + (self.clock() - started) / MOST_OF_THE_TIME)

    def _is_due(self) -> bool:
        with self._lock:
            now = self.clock()
            is_due = now >= self.due_at
            if is_due:
                self.due_at = now + PROCESS_SECONDS
            return is_due


REPORTS = RareReports()
"""The reports of this process."""


def _seconds_since(moment: datetime | None) -> float:
    """Return the age in seconds of the oldest entry; 0 if the outbox is empty."""
    # Never negative: the clock of the machine that wrote the entry may be ahead of this machine's.
    return max(0.0, (datetime.now(UTC) - moment).total_seconds()) if moment else 0.0

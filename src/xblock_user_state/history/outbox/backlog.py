"""Reports how much waits in the outbox, and for how long: what tells an operator that shipping has stopped."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db.models import Count, Min
from django.db.utils import Error

from xblock_user_state.history.models import HistoryOutbox
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import reporter

REPORT_SECONDS = 10.0
"""During a long pass of the relay the outbox is looked at once in so long."""


@dataclass
class BacklogGauges:
    """Depth and age of the outbox in the state's `database`. Without a sink of metrics nobody looks."""

    database: str
    _looked_at: float = field(default_factory=time.monotonic)

    def report(self) -> None:
        """Look, and report. One statement, which takes as long as reading the whole outbox; no errors of the database.

        These the relay meets by itself, and tells of them.
        """
        to = reporter()
        if to is None:
            return
        self._looked_at = time.monotonic()
        with suppress(Error):
            rows = HistoryOutbox.objects.using(self.database)
            found = rows.aggregate(depth=Count("*"), oldest=Min("created"))
            to.record(names.OUTBOX_DEPTH, found["depth"])
            to.record(names.OUTBOX_AGE, _seconds_since(found["oldest"]))

    def report_once_in_a_while(self) -> None:
        """Report, if nobody has looked for a while."""
        if time.monotonic() - self._looked_at >= REPORT_SECONDS:
            self.report()


def _seconds_since(moment: datetime | None) -> float:
    """Return the age of the oldest entry; 0 for none. The clock that wrote it may be ahead of ours."""
    return max(0.0, (datetime.now(UTC) - moment).total_seconds()) if moment else 0.0

"""The relay: ships the outbox of all learners to the extended history, in one pass or for ever.

Several relays may run at once: each ships the rows that no other has locked. The statements name no learner (law 7),
but for the locks where Citus distributes the tables.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from django.db import close_old_connections
from django.db.models import Q
from django.db.utils import Error

from xblock_user_state.history.entries import Key, Owner, all_rows
from xblock_user_state.history.models import HistoryOutbox
from xblock_user_state.history.outbox import last_pass
from xblock_user_state.history.outbox.answers import EntriesRefused, HistoryUnavailable
from xblock_user_state.history.outbox.backlog import BacklogGauges
from xblock_user_state.history.outbox.breaker import REFUSALS, RETRY_SECONDS, SHIPPING, Breaker
from xblock_user_state.history.outbox.reaching import need_table
from xblock_user_state.history.outbox.shipping import Shipment, count_failure, ship
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count, record
from xblock_user_state.store.resting import resting
from xblock_user_state.store.transactions import errors_translated

POLL_SECONDS = 1.0
"""Seconds between two passes of a following relay after a pass that found the outbox empty."""

MOST_PASSES = 10
"""Passes in which `Relay.all` ships what waits, so that it ends though writers go on."""

MOST_REFUSED = 100
"""Refused rows in a row after which a pass gives up: then the database is at fault and not the rows."""


@dataclass
class Relay:
    """Ships the outbox in the state's `database`, up to `size` rows in a transaction."""

    database: str
    size: int
    refused: dict[Key, str] = field(default_factory=dict)
    """The rows that the history database refused in the last pass, each with the reason."""
    shipped: Callable[[Collection[Owner]], object] | None = None
    """Called with the owners of the rows of each shipment, after it."""
    _has_table: bool = False
    _left_out: bool = False
    _outbox: Breaker = field(
        default_factory=lambda: Breaker(failure="the outbox can't be read", recovery="the outbox can be read again")
    )

    def waiting(self) -> int:
        """Return the number of rows in the outbox. Scans an index of the whole table."""
        with errors_translated(self.database):
            return all_rows(HistoryOutbox, self.database).count()

    def once(self) -> Iterator[int]:
        """Ship the outbox in one pass by key; yield the number of shipped rows after each transaction.

        Leaves out rows that another process has locked, and the rows behind a tombstone that it has locked. Rows that
        the history database refuses stay in the outbox, and are listed in `refused`; the other rows of their batch are
        shipped one by one. Reports the backlog gauges however the pass ends, and the time of a pass that was complete.

        Raises `HistoryUnavailable`, even if the outbox is empty; the first pass also looks for the table. Raises
        `ServiceUnavailable` or a database error for the state's database. Rows that were shipped before the error stay
        shipped.
        """
        gauges = BacklogGauges(self.database)
        try:
            for rows in resting(self.database, self._pass()):
                self._has_table |= rows > 0
                gauges.report_when_due()
                yield rows
            self._need_table()
            record(names.RELAY_LAST_PASS, time.time())
            last_pass.note(len(self.refused))
        finally:
            gauges.report()

    def all(self) -> Iterator[int]:
        """Ship the outbox in as many passes as it takes; yield the number of shipped rows after each transaction.

        Several relays that end at the same time may each have left out a row because another one had locked it, or an
        earlier one of its owner, and have gone past it. So one pass after another follows until none waits, or a pass
        found nothing that it could ship, or after `MOST_PASSES`. Raises as `once` does.
        """
        for _ in range(MOST_PASSES):
            self._left_out = False
            shipped = 0
            for rows in self.once():
                shipped += rows
                yield rows
            if not (shipped or self._left_out) or not self._more_wait():
                return

    def _more_wait(self) -> bool:
        try:
            return self.waiting() > len(self.refused)
        except (Error, ServiceUnavailable):
            # The rows of the last pass are shipped, and that shall not end in an error.
            return False

    def _pass(self) -> Iterator[int]:
        self.refused.clear()
        shipment = Shipment(0, None)
        singly = in_a_row = 0
        while True:
            size = 1 if singly else self.size
            try:
                shipment = self._ship(size, shipment.last)
                in_a_row = 0
            except EntriesRefused as error:
                # The error does not name the row. Repeat the batch in transactions of one row to find it.
                if size > 1:
                    singly = size
                    continue
                shipment = Shipment(0, self._leave(error))
                in_a_row += 1
                if in_a_row > MOST_REFUSED:
                    raise
            yield shipment.rows
            if shipment.last is None:
                return
            singly = max(0, singly - 1)

    def _ship(self, size: int, after: Key | None) -> Shipment:
        try:
            shipment = ship(self.database, Q(), size, after)
        except (HistoryUnavailable, Error, ServiceUnavailable) as error:
            count_failure("relay", error)
            raise
        self._left_out |= shipment.left_out
        count(names.SHIPPED, shipment.rows, "relay")
        if self.shipped and shipment.owners:
            self.shipped(shipment.owners)
        return shipment

    def _need_table(self) -> None:
        """Look for the table once, unless shipped rows have proved that it is there."""
        if not self._has_table:
            try:
                need_table()
            except HistoryUnavailable as error:
                count_failure("relay", error)
                raise
            self._has_table = True

    def follow(self, pause: Callable[[float], bool]) -> Iterator[int]:
        """Ship for ever, pass after pass; yield the number of shipped rows after each transaction.

        `pause` waits for a number of seconds and returns whether to go on. A database that fails is tried again.
        """
        seconds = 0.0
        while pause(seconds):
            shipped = 0
            try:
                for rows in self.once():
                    shipped += rows
                    yield rows
                self._outbox.succeeded()
                self._report_health()
                seconds = 0.0 if shipped else POLL_SECONDS
            except HistoryUnavailable as error:
                SHIPPING.failed(error)
                seconds = RETRY_SECONDS
            except (Error, ServiceUnavailable) as error:
                self._outbox.failed(error)
                seconds = RETRY_SECONDS
            if seconds:
                # Django does this after each request, and a relay has no requests: drop connections that are broken or
                # older than CONN_MAX_AGE.
                close_old_connections()

    def _leave(self, error: EntriesRefused) -> Key:
        self.refused[error.last] = str(error)
        return error.last

    def _report_health(self) -> None:
        SHIPPING.succeeded()
        if self.refused:
            REFUSALS.failed(HistoryUnavailable(describe_refused(self.refused)))
        else:
            REFUSALS.succeeded()


def describe_refused(refused: Mapping[Key, str], most: int = 20) -> str:
    """Return a message with the number of refused rows, and the keys and reasons of the first `most`."""
    lines = [
        f"learner {student_id}, block {block_id}, revision {revision}: {reason}"
        for (student_id, block_id, revision), reason in islice(refused.items(), most)
    ]
    more = [f"and {len(refused) - most:,} more"] if len(refused) > most else []
    return f"it refuses {len(refused):,} of them: " + "; ".join([*lines, *more])

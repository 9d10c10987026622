"""Ships the outbox to the extended history: what is there now, or all that ever comes, for `relay_history`.

Several relays may run at once: each ships the rows that no other has locked. No statement here pins a learner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from django.db import close_old_connections
from django.db.models import Q
from django.db.utils import Error

from xblock_user_state.history.entries import Key
from xblock_user_state.history.models import HistoryOutbox
from xblock_user_state.history.outbox.backlog import BacklogGauges
from xblock_user_state.history.outbox.breaker import REFUSALS, RETRY_SECONDS, SHIPPING, Breaker
from xblock_user_state.history.outbox.shipping import EntriesRefused, HistoryUnavailable, Shipment, count_failure, ship
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count
from xblock_user_state.store.transactions import errors_translated

POLL_SECONDS = 1.0
"""How long a relay that follows waits when it has found the outbox empty."""

MOST_REFUSED = 100
"""When the history database refuses more rows than these one after the other, it is not the rows that are wrong."""


@dataclass
class Relay:
    """Ships the outbox in the state's `database`, up to `size` rows in a transaction."""

    database: str
    size: int
    refused: dict[Key, str] = field(default_factory=dict)
    """The rows that the history database did not take in the last pass, and why."""
    _outbox: Breaker = field(
        default_factory=lambda: Breaker(failure="the outbox can't be read", recovery="the outbox can be read again")
    )

    def waiting(self) -> int:
        """Return how many rows the outbox has. Takes as long as reading the index of all of them."""
        with errors_translated(self.database):
            return HistoryOutbox.objects.using(self.database).count()

    def once(self) -> Iterator[int]:
        """Ship what the outbox holds now, in one pass by key; yield the number of rows after each transaction.

        Rows that another process is shipping are left to it, and so are those behind a tombstone that it is shipping.
        Rows that the history database does not take are left, and kept in `refused`; those of their batch are then
        tried one by one. Raises `HistoryUnavailable`, also when there is nothing to ship, `ServiceUnavailable` or an
        error of the state's database; what was shipped before stays shipped. However a pass ends, it reports what is
        left in the outbox.
        """
        levels = BacklogGauges(self.database)
        try:
            for rows in self._pass():
                levels.report_once_in_a_while()
                yield rows
        finally:
            levels.report()

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
        count(names.SHIPPED, shipment.rows, "relay")
        return shipment

    def follow(self, pause: Callable[[float], bool]) -> Iterator[int]:
        """Ship for ever, also what is yet to come; yield the number of rows after each transaction.

        `pause` waits for so many seconds, and says whether to go on. Databases that fail are tried again.
        """
        seconds = 0.0
        while pause(seconds):
            shipped = 0
            try:
                for rows in self.once():
                    shipped += rows
                    yield rows
                self._outbox.succeeded()
                self._tell_how_it_went()
                seconds = 0.0 if shipped else POLL_SECONDS
            except HistoryUnavailable as error:
                SHIPPING.failed(error)
                seconds = RETRY_SECONDS
            except (Error, ServiceUnavailable) as error:
                self._outbox.failed(error)
                seconds = RETRY_SECONDS
            if seconds:
                # A relay that waits must not keep a connection that has broken, or is older than the host allows.
                close_old_connections()

    def _leave(self, error: EntriesRefused) -> Key:
        self.refused[error.last] = str(error)
        return error.last

    def _tell_how_it_went(self) -> None:
        SHIPPING.succeeded()
        if self.refused:
            REFUSALS.failed(HistoryUnavailable(describe_refused(self.refused)))
        else:
            REFUSALS.succeeded()


def describe_refused(refused: Mapping[Key, str], most: int = 20) -> str:
    """Return a text that names the rows which the history database did not take, `most` of them with its reason."""
    lines = [
        f"learner {student_id}, block {block_id}, revision {revision}: {reason}"
        for (student_id, block_id, revision), reason in islice(refused.items(), most)
    ]
    more = [f"and {len(refused) - most:,} more"] if len(refused) > most else []
    return f"it refuses {len(refused):,} of them: " + "; ".join([*lines, *more])

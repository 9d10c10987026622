"""Circuit breakers: while the history database is down, few requests wait for it and all others go on at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

_LOG = logging.getLogger("xblock_user_state.history")

RETRY_SECONDS = 5.0
"""Seconds without a call after a failure; then one call tries the database again."""

WARN_SECONDS = 60.0
"""Seconds between two warnings about the same breaker."""


@dataclass
class Breaker:
    """The health of one way to use a database, as this process has seen it. Shared by its threads.

    Closed: all calls go through. Open, after a failure: one call in `RETRY_SECONDS` goes through, whatever the number
    of threads. The first call that succeeds closes the breaker.
    """

    failure: str
    recovery: str
    clock: Callable[[], float] = time.monotonic
    _lock: Lock = field(default_factory=Lock)
    _retry_at: float = field(default=float("-inf"))
    _warn_at: float = field(default=float("-inf"))

    def is_open(self) -> bool:
        """Tell whether the last call failed."""
        return self._retry_at > float("-inf")

    def lets_through(self) -> bool:
        """Tell a caller whether to use the database. After ``True`` the caller must call `failed` or `succeeded`."""
        with self._lock:
            now = self.clock()
            if now < self._retry_at:
                return False
            if self.is_open():
                # This caller is the one that tries. No other caller goes through while it waits for an answer.
                self._retry_at = now + RETRY_SECONDS
            return True

    def failed(self, error: BaseException) -> None:
        """Open the breaker, and log a warning once a minute."""
        with self._lock:
            now = self.clock()
            self._retry_at = now + RETRY_SECONDS
            warns = now >= self._warn_at
            if warns:
                self._warn_at = now + WARN_SECONDS
        # Outside the lock: a log handler may be slow, and must not stop the other threads.
        if warns:
            _LOG.warning("%s: %s", self.failure, error)

    def succeeded(self) -> None:
        """Close the breaker."""
        if self.is_open():
            self.forget()
            _LOG.info(self.recovery)

    def forget(self) -> None:
        """Close the breaker, and allow the next warning at once."""
        with self._lock:
            self._retry_at = self._warn_at = float("-inf")


SHIPPING = Breaker(
    failure="the history database can't be written to; entries wait in the outbox",
    recovery="the history database can be written to again",
)

REFUSALS = Breaker(
    failure="the history database does not take some entries; they wait in the outbox",
    recovery="the history database takes all entries again",
)
"""Throttles warnings only. It stops no calls: one refused entry must not keep other entries back."""

# Apart from SHIPPING: a history database that is read-only or full can still be read.
READING = Breaker(
    failure="the history database can't be read; reads fail if the state's database does not have all entries",
    recovery="the history database can be read again",
)

"""Keeps the writes quick while the history database is down: not each of them waits for it to fail."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_LOG = logging.getLogger("xblock_user_state.history")

RETRY_SECONDS = 5.0
"""After a failure the history database is left alone for so long; then one call tries it again."""

WARN_SECONDS = 60.0
"""A failure is logged once in so long."""


@dataclass
class Breaker:
    """What this process knows of a database, by default the history's.

    Safe to share by threads: at worst two of them try at once.
    """

    clock: Callable[[], float] = time.monotonic
    failure: str = "the history database can't be written to; entries wait in the outbox"
    recovery: str = "the history database can be written to again"
    _retry_at: float = field(default=float("-inf"))
    _warn_at: float = field(default=float("-inf"))

    def is_open(self) -> bool:
        """Tell whether the database failed a moment ago. Who is told no may try it, and must report how it went."""
        return self.clock() < self._retry_at

    def failed(self, error: BaseException) -> None:
        """Take note of a failure."""
        now = self.clock()
        self._retry_at = now + RETRY_SECONDS
        if now >= self._warn_at:
            self._warn_at = now + WARN_SECONDS
            _LOG.warning("%s: %s", self.failure, error)

    def succeeded(self) -> None:
        """Take note that the database works."""
        if self._retry_at > float("-inf"):
            _LOG.info(self.recovery)
        self.forget()

    def forget(self) -> None:
        """Know nothing of the database."""
        self._retry_at = self._warn_at = float("-inf")


HISTORY_DATABASE = Breaker()

"""Keeps requests quick while the history database is down: not each of them waits for it to fail."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

_LOG = logging.getLogger("xblock_user_state.history")

RETRY_SECONDS = 5.0
"""After a failure the history database is left alone for so long; then one call tries it again."""

WARN_SECONDS = 60.0
"""A failure is logged once in so long."""


@dataclass
class Breaker:
    """What this process knows of one way to use a database. Shared by its threads.

    After a failure one call in `RETRY_SECONDS` is let through, whatever the number of threads; the first that succeeds
    lets all through again.
    """

    failure: str
    recovery: str
    clock: Callable[[], float] = time.monotonic
    _lock: Lock = field(default_factory=Lock)
    _retry_at: float = field(default=float("-inf"))
    _warn_at: float = field(default=float("-inf"))

    def is_open(self) -> bool:
        """Tell whether the database failed, and was not seen to work since."""
        return self._retry_at > float("-inf")

    def lets_through(self) -> bool:
        """Tell a caller whether to try the database. Who is told to must report how it went."""
        with self._lock:
            now = self.clock()
            if now < self._retry_at:
                return False
            if self.is_open():
                # Nobody else, while this one waits for it to fail.
                self._retry_at = now + RETRY_SECONDS
            return True

    def failed(self, error: BaseException) -> None:
        """Take note of a failure."""
        with self._lock:
            now = self.clock()
            self._retry_at = now + RETRY_SECONDS
            is_news = now >= self._warn_at
            if is_news:
                self._warn_at = now + WARN_SECONDS
        if is_news:
            _LOG.warning("%s: %s", self.failure, error)

    def succeeded(self) -> None:
        """Take note that the database works."""
        if self.is_open():
            self.forget()
            _LOG.info(self.recovery)

    def forget(self) -> None:
        """Know nothing of the database."""
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
"""For its warnings only: what is refused is no reason to keep other entries back."""

READING = Breaker(
    failure="the history database can't be read; readers are refused what is nowhere else",
    recovery="the history database can be read again",
)

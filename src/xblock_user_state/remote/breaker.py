"""A circuit breaker: after some failures in a row, callers get an error at once instead of waiting for the service.

A state machine of values: it reads an injected clock, and calls nothing but its listeners. The breaker of the history
database (`history.outbox.breaker`) is another one: it has an outbox to fall back on, so it opens at the first failure,
refuses nobody's call, and warns. Here the caller is refused, so a single reset must not open it, listeners hear of each
change, and the answers of calls that began before a change do not count.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from threading import Lock

_LOG = logging.getLogger("xblock_user_state.remote")


class State(StrEnum):
    """The states of a breaker."""

    CLOSED = "closed"
    """All attempts go through."""
    OPEN = "open"
    """No attempt goes through, until it is time for a probe."""
    HALF_OPEN = "half-open"
    """One attempt, the probe, has gone through, and its outcome decides. All others are refused."""


Listener = Callable[[State, State], None]
"""Takes the state before a change and the state after it. A listener must not block, since a learner's call waits."""


class BreakerOpen(Exception):
    """The attempt was refused."""


class Breaker:
    """The health of a service, as this process has seen it. Its threads share the breaker.

    Each attempt asks `enter` first. It returns a number, or raises `BreakerOpen`. The attempt must report its outcome
    with the number, once: `succeeded`, `failed`, or `left` if it ended without an outcome.

    So many `failures` in a row open it, of attempts, not of calls. Then one attempt, the probe, goes through after
    `probe_seconds`, and again so long after each probe that fails.
    """

    def __init__(
        self,
        failures: int,
        probe_seconds: float,
        *,
        listeners: Iterable[Listener] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if failures < 1:
            raise ValueError(f"failures must be at least 1, not {failures}")
        if not probe_seconds > 0:
            raise ValueError(f"probe_seconds must be more than 0, not {probe_seconds}")
        self._most = failures
        self._probe_seconds = probe_seconds
        self._listeners = tuple(listeners)
        self._clock = clock
        self._lock = Lock()
        self._state = State.CLOSED
        self._failures = 0
        self._probe_at = float("-inf")
        # Counts the changes of the state. An attempt that began before the last one has an older number.
        self._number = 0

    @property
    def state(self) -> State:
        """The state now. An open breaker whose next attempt would be the probe is open."""
        return self._state

    def enter(self) -> int:
        """Return the number of an attempt that goes through. Raises `BreakerOpen`, which says for how long."""
        with self._lock:
            if self._state is State.CLOSED:
                return self._number
            seconds = self._probe_at - self._clock()
            if self._state is State.HALF_OPEN or seconds > 0:
                when = "a probe is under way" if self._state is State.HALF_OPEN else f"next probe in {seconds:.1f} s"
                raise BreakerOpen(f"because the last {self._failures} attempts failed; {when}")
            before, number = self._change(State.HALF_OPEN), self._number
        self._tell(before, State.HALF_OPEN)
        return number

    def succeeded(self, number: int) -> None:
        """Close the breaker after a probe; otherwise begin to count anew."""
        with self._lock:
            if number != self._number:
                return
            self._failures = 0
            if self._state is State.CLOSED:
                return
            before = self._change(State.CLOSED)
        self._tell(before, State.CLOSED)

    def failed(self, number: int) -> None:
        """Open the breaker after a probe, or after the last of the allowed failures."""
        with self._lock:
            if number != self._number:
                return
            self._failures += 1
            if self._state is State.CLOSED and self._failures < self._most:
                return
            self._probe_at = self._clock() + self._probe_seconds
            before = self._change(State.OPEN)
        self._tell(before, State.OPEN)

    def left(self, number: int) -> None:
        """Give a probe that has no outcome to the next attempt: its caller was interrupted."""
        with self._lock:
            if number != self._number or self._state is not State.HALF_OPEN:
                return
            # The time of the probe has come already.
            before = self._change(State.OPEN)
        self._tell(before, State.OPEN)

    def _change(self, state: State) -> State:
        """Change the state, which the caller has locked, and return the one before."""
        before, self._state = self._state, state
        self._number += 1
        return before

    def _tell(self, before: State, after: State) -> None:
        # Outside the lock: a listener may ask for the state, and be slow.
        for listener in self._listeners:
            try:
                listener(before, after)
            except Exception:  # noqa: BLE001 (a listener is the host's code; no exception of it may end a learner's call)
                _LOG.exception("a listener of the breaker failed")

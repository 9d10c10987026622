"""The circuit breaker against a model, and its words to listeners."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from tests.clock import Clock
from xblock_user_state.remote.breaker import Breaker, BreakerOpen, State

FAILURES = 3
PROBE_SECONDS = 5.0
CHANGES = {
    (State.CLOSED, State.OPEN),
    (State.OPEN, State.HALF_OPEN),
    (State.HALF_OPEN, State.OPEN),
    (State.HALF_OPEN, State.CLOSED),
}


class BreakerMachine(RuleBasedStateMachine):
    """Attempts begin and end in any order while time goes by.

    The model knows the outcomes since the last change, the time of the last failure, and the probe under way.
    """

    attempts = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.heard: list[tuple[State, State]] = []
        self.breaker = Breaker(
            FAILURES, PROBE_SECONDS, listeners=[lambda *change: self.heard.append(change)], clock=self.clock
        )
        self.is_closed = True
        self.in_a_row = 0
        self.next_probe = 0.0
        self.probe: int | None = None
        self.current: set[int] = set()

    @rule(seconds=st.sampled_from([0.1, 1.0, PROBE_SECONDS]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(target=attempts)
    def enter(self) -> object:
        goes_through = self.is_closed or (self.probe is None and self.clock.now >= self.next_probe)
        if not goes_through:
            with pytest.raises(BreakerOpen):
                self.breaker.enter()
            return multiple()
        number = self.breaker.enter()
        if not self.is_closed:
            self.probe = number
        self.current.add(number)
        return number

    @rule(number=consumes(attempts))
    def succeed(self, number: int) -> None:
        self.breaker.succeeded(number)
        if number in self.current:
            self.in_a_row = 0
            if number == self.probe:
                self.change(is_closed=True)

    @rule(number=consumes(attempts))
    def fail(self, number: int) -> None:
        self.breaker.failed(number)
        if number in self.current:
            self.in_a_row += 1
            if number == self.probe or self.in_a_row == FAILURES:
                self.next_probe = self.clock.now + PROBE_SECONDS
                self.change(is_closed=False)

    @rule(number=consumes(attempts))
    def leave(self, number: int) -> None:
        self.breaker.left(number)
        if number == self.probe:
            self.change(is_closed=False)

    def change(self, *, is_closed: bool) -> None:
        self.is_closed, self.probe = is_closed, None
        # Attempts that are still under way count no more.
        self.current.clear()

    @invariant()
    def it_has_the_state_of_the_model(self) -> None:
        waiting = State.OPEN if self.probe is None else State.HALF_OPEN
        assert self.breaker.state is (State.CLOSED if self.is_closed else waiting)

    @invariant()
    def listeners_hear_each_change_in_order(self) -> None:
        assert set(self.heard) <= CHANGES
        states = [State.CLOSED, *(after for _, after in self.heard)]
        assert [before for before, _ in self.heard] == states[:-1]
        assert states[-1] is self.breaker.state


TestBreaker = BreakerMachine.TestCase


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(1, PROBE_SECONDS, clock=clock)
    breaker.failed(breaker.enter())
    return breaker


def test_of_many_threads_one_is_the_probe() -> None:
    clock, threads = Clock(), 16
    breaker, together = opened(clock), Barrier(threads)

    def enters(_: int) -> bool:
        together.wait()
        try:
            breaker.enter()
        except BreakerOpen:
            return False
        return True

    clock.now += PROBE_SECONDS
    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(enters, range(threads))) == 1


def test_a_refusal_says_how_long_it_lasts() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1
    with pytest.raises(BreakerOpen, match=r"next probe in 4\.0 s"):
        breaker.enter()


def test_a_listener_that_fails_does_not_end_a_call(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: State) -> None:
        raise LookupError("no pager")

    heard: list[State] = []
    breaker = Breaker(1, PROBE_SECONDS, listeners=[fail, lambda _, after: heard.append(after)])
    breaker.failed(breaker.enter())
    assert heard == [State.OPEN]
    assert "no pager" in caplog.text


@pytest.mark.parametrize(("failures", "probe_seconds"), [(0, 5.0), (1, 0.0), (1, float("nan"))])
def test_a_breaker_that_could_not_work_is_refused(failures: int, probe_seconds: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Breaker(failures, probe_seconds)

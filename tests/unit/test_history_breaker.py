"""A process's breaker for a history database that is down."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.clock import Clock
from xblock_user_state.history.outbox.breaker import RETRY_SECONDS, WARN_SECONDS, Breaker


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("it is down", "it is up again", clock)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_database_that_never_failed_is_tried_by_all(breaker: Breaker) -> None:
    assert not breaker.is_open()
    assert [breaker.lets_through() for _ in range(3)] == [True] * 3


def test_after_a_failure_it_is_left_alone_for_a_while(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(OSError("gone"))
    clock.now += RETRY_SECONDS - 0.1
    assert not breaker.lets_through()
    clock.now += 0.1
    assert breaker.lets_through()


def test_one_call_tries_it_then_and_no_other_for_as_long_again(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(OSError("gone"))
    clock.now += RETRY_SECONDS
    assert [breaker.lets_through() for _ in range(3)] == [True, False, False]
    # The call that tried it was killed, or still waits.
    clock.now += RETRY_SECONDS
    assert [breaker.lets_through() for _ in range(3)] == [True, False, False]


def test_of_many_threads_one_tries_it(breaker: Breaker, clock: Clock) -> None:
    threads = 16
    breaker.failed(OSError("gone"))
    together = Barrier(threads)

    def ask(_: int) -> bool:
        together.wait()
        return breaker.lets_through()

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(50):
            clock.now += RETRY_SECONDS
            assert sum(pool.map(ask, range(threads))) == 1


def test_each_failure_begins_the_while_anew(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(OSError("gone"))
    clock.now += RETRY_SECONDS
    breaker.failed(OSError("gone"))
    assert not breaker.lets_through()


def test_a_success_ends_it(breaker: Breaker) -> None:
    breaker.failed(OSError("gone"))
    breaker.succeeded()
    assert not breaker.is_open()
    assert [breaker.lets_through() for _ in range(3)] == [True] * 3


def test_one_warning_a_minute(breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(int(2 * WARN_SECONDS)):
        breaker.failed(OSError("no route to host"))
        clock.now += 1
    assert warnings(caplog) == ["it is down: no route to host"] * 2


def test_a_failure_after_a_success_is_news(breaker: Breaker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    breaker.failed(OSError("gone"))
    breaker.succeeded()
    breaker.succeeded()
    breaker.failed(OSError("gone again"))
    assert len(warnings(caplog)) == 2
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.INFO] == ["it is up again"]

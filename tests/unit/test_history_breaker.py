"""What a process knows of a history database that is down."""

from __future__ import annotations

import logging

import pytest

from xblock_user_state.history.breaker import RETRY_SECONDS, WARN_SECONDS, Breaker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_database_that_never_failed_is_tried(breaker: Breaker) -> None:
    assert not breaker.is_open()


def test_after_a_failure_it_is_left_alone_for_a_while(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(OSError("gone"))
    clock.now += RETRY_SECONDS - 0.1
    assert breaker.is_open()
    clock.now += 0.1
    assert not breaker.is_open()


def test_each_failure_begins_the_while_anew(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(OSError("gone"))
    clock.now += RETRY_SECONDS
    breaker.failed(OSError("gone"))
    assert breaker.is_open()


def test_a_success_ends_it(breaker: Breaker) -> None:
    breaker.failed(OSError("gone"))
    breaker.succeeded()
    assert not breaker.is_open()


def test_one_warning_a_minute(breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(int(2 * WARN_SECONDS)):
        breaker.failed(OSError("no route to host"))
        clock.now += 1
    assert len(warnings(caplog)) == 2
    assert all("no route to host" in message for message in warnings(caplog))


def test_a_failure_after_a_success_is_news(breaker: Breaker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    breaker.failed(OSError("gone"))
    breaker.succeeded()
    breaker.succeeded()
    breaker.failed(OSError("gone again"))
    assert len(warnings(caplog)) == 2
    assert [record.levelno for record in caplog.records].count(logging.INFO) == 1

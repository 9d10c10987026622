"""The throttle counts each caller's requests, in windows that all processes share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from pytest_django import Settings

from xblock_user_state.service.throttling import TooManyRequests, parse_rate, throttle

NOW = 1_700_000_015.5


@pytest.fixture(autouse=True)
def clock(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Three requests a minute, and a clock that stands 35.5 seconds into one: the next begins in 24.5."""
    cache.clear()
    settings.XBLOCK_USER_STATE = {"SERVICE_THROTTLE": "3/m"}
    clock = {"now": NOW}
    monkeypatch.setattr("time.time", lambda: clock["now"])
    return clock


def is_allowed(caller: str) -> bool:
    try:
        throttle(caller)
    except TooManyRequests:
        return False
    return True


def test_a_caller_is_refused_until_the_next_window(clock: dict[str, float]) -> None:
    assert [is_allowed("ada") for _ in range(4)] == [True, True, True, False]
    with pytest.raises(TooManyRequests) as refused:
        throttle("ada")
    assert refused.value.retry_after == 25
    clock["now"] += refused.value.retry_after
    assert is_allowed("ada")


def test_callers_do_not_share_their_allowance() -> None:
    assert [is_allowed(caller) for caller in ("ada",) * 4 + ("ben", "ben")] == [True] * 3 + [False] + [True] * 2


def test_requests_of_the_same_moment_are_all_counted(settings: Settings, eager_threads: None) -> None:
    settings.XBLOCK_USER_STATE = {"SERVICE_THROTTLE": "50/h"}
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(is_allowed, ["ada"] * 200)) == 50


def test_nobody_is_throttled_without_the_setting(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {}
    assert all(is_allowed("ada") for _ in range(9))


def test_a_cache_that_is_down_limits_nobody(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: Any, **__: Any) -> int:
        raise ConnectionError("no cache")

    monkeypatch.setattr(LocMemCache, "incr", fail)
    assert all(is_allowed("ada") for _ in range(9))
    assert "nobody is throttled" in caplog.text


@pytest.mark.parametrize("text", ["", "5", "0/m", "5/w", "5/min", "-5/m", " 5/m", "5/m ", "1.5/s", 5, ["5/m"]])
def test_other_texts_are_no_rates(text: object) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)

"""Times come from the application's clock and grow strictly with a row's revisions, even if the clock goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from xblock.fields import Scope

from tests.factories import make_block
from xblock_user_state.interface import XBlockUserStateClient
from xblock_user_state.state import change

BLOCK = make_block()
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class Clock:
    """Replaces `datetime` in the code that makes changes; shows the time that the test sets."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self, zone: Any) -> datetime:
        return self.time.astimezone(zone)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    shown = Clock()
    monkeypatch.setattr(change, "datetime", shown)
    return shown


def _updated(client: XBlockUserStateClient, scope: Scope = Scope.user_state) -> datetime:
    return client.get("ann", BLOCK, scope).updated


def test_the_time_of_a_change_is_the_clocks_to_the_microsecond(client: XBlockUserStateClient, clock: Clock) -> None:
    client.set("ann", BLOCK, {"a": 1})
    assert _updated(client) == NOON
    clock.time += timedelta(microseconds=1)
    client.set("ann", BLOCK, {"a": 2})
    assert _updated(client) == NOON + timedelta(microseconds=1)
    clock.time += timedelta(days=400)
    client.set_score("ann", BLOCK, 1, 1)
    assert _updated(client) == NOON + timedelta(days=400, microseconds=1)
    assert client.get_scores("ann", [BLOCK])[BLOCK].updated == _updated(client)


@pytest.mark.parametrize("scope", [Scope.user_state, Scope.user_state_summary], ids=lambda scope: scope.name)
@pytest.mark.parametrize("step", [timedelta(0), timedelta(hours=-1)], ids=["stands still", "goes back"])
def test_times_grow_by_a_microsecond_at_least(
    client: XBlockUserStateClient, clock: Clock, step: timedelta, scope: Scope
) -> None:
    for number in range(5):
        client.set("ann", BLOCK, {"a": number}, scope)
        assert _updated(client, scope) == NOON + number * timedelta(microseconds=1)
        clock.time += step


@pytest.mark.not_for_visitors
def test_history_has_the_same_times_when_the_clock_goes_back(client: XBlockUserStateClient, clock: Clock) -> None:
    for number in range(3):
        client.set("ann", BLOCK, {"a": number})
        client.set_score("ann", BLOCK, number, 10)
        clock.time -= timedelta(minutes=1)
    times = [entry.updated for entry in client.get_history("ann", BLOCK)]
    assert times == [NOON + number * timedelta(microseconds=1) for number in range(5, -1, -1)]


def test_a_clock_that_recovers_is_believed_again(client: XBlockUserStateClient, clock: Clock) -> None:
    client.set("ann", BLOCK, {"a": 1})
    clock.time -= timedelta(days=1)
    client.set("ann", BLOCK, {"a": 2})
    clock.time += timedelta(days=2)
    client.set("ann", BLOCK, {"a": 3})
    assert _updated(client) == NOON + timedelta(days=1)


def test_a_call_that_changes_nothing_does_not_touch_the_time(client: XBlockUserStateClient, clock: Clock) -> None:
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 2)
    before = _updated(client)
    clock.time += timedelta(hours=1)
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 2)
    client.delete("ann", BLOCK, fields=["b"])
    assert _updated(client) == before

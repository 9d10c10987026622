"""Beside a database with a time zone of its own, times are in UTC and compared in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from xblock.fields import Scope

from tests.factories import make_block, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.store import statements, writer

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()
SUMMER = datetime(2026, 7, 1, 5, 30, 0, 123456, tzinfo=UTC)
# 01:30 of summer time; 45 minutes later the clocks of New York show 01:15 again.
HOUR = timedelta(hours=1)
TWICE = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The databases have the documented option ``TIME_ZONE``."""
    for alias in connections:
        monkeypatch.setitem(connections[alias].settings_dict, "TIME_ZONE", "America/New_York")
    _begin_anew()
    make_learners("ann")
    yield
    monkeypatch.undo()
    _begin_anew()


def _begin_anew() -> None:
    statements._selection.cache_clear()
    for alias in connections:
        connections[alias].close()
        for name in ("timezone", "timezone_name"):
            vars(connections[alias]).pop(name, None)


def _set(monkeypatch: pytest.MonkeyPatch, *times: datetime) -> DjangoXBlockUserStateClient:
    for number, time in enumerate(times):
        monkeypatch.setattr(writer, "clock", lambda time=time: time)
        DjangoXBlockUserStateClient().set("ann", BLOCK, {"a": number})
        DjangoXBlockUserStateClient().set("ann", "problem", {"a": number}, Scope.preferences)
    return DjangoXBlockUserStateClient()


def _is_utc(time: Any) -> bool:
    return time.tzinfo is UTC


def test_every_time_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    later = SUMMER + timedelta(hours=5)
    client = _set(monkeypatch, SUMMER, later)
    client.set_score("ann", BLOCK, 1, 2)
    found = [
        client.get("ann", "problem", Scope.preferences).updated,
        next(client.iter_all_for_block("problem", Scope.preferences)).updated,
        next(client.get_history("ann", BLOCK, before_revision=3)).updated,
    ]
    assert found == [later] * 3
    times = [
        client.get("ann", BLOCK).updated,
        client.get_scores("ann", [BLOCK])[BLOCK].updated,
        next(client.iter_all_for_block(BLOCK)).updated,
        StudentModule.objects.values_list("created", flat=True)[0],
        StudentModuleHistory.objects.order_by("revision")[0].created,
    ]
    assert all(map(_is_utc, [*found, *times]))
    assert times[3:] == [SUMMER, SUMMER]


def test_the_hour_that_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [TWICE, TWICE + timedelta(minutes=45), TWICE + timedelta(minutes=75)]
    client = _set(monkeypatch, *times)
    output = StringIO()
    call_command("check_history", stdout=output)
    call_command("sweep_history", stdout=StringIO())
    call_command("repair_history", stdout=StringIO())
    assert "3 entries were checked" in output.getvalue()
    found = list(client.get_history("ann", BLOCK))
    assert [(entry.revision, entry.state) for entry in found] == [(3, {"a": 2}), (2, {"a": 1}), (1, {"a": 0})]
    assert all(_is_utc(entry.updated) for entry in found)
    if connections["default"].vendor == "postgresql":
        assert [entry.updated for entry in found] == times[::-1]
        assert "times disagree" not in output.getvalue()
    else:
        # The stored local times are ambiguous, and read as the first of two.
        assert [entry.updated for entry in found] == [TWICE + timedelta(minutes=15), times[1] - HOUR, times[0]]
        assert "times disagree: revision 2 is earlier than revision 1" in output.getvalue()


def test_entries_of_several_blocks_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entries of each block stay in the order of their revisions."""
    _set(monkeypatch, TWICE, TWICE + timedelta(minutes=45), TWICE + timedelta(minutes=75))
    found = StudentModuleHistory.get_history(StudentModule.objects.all())
    assert [entry.revision for entry in found] == [3, 2, 1]

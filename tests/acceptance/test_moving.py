"""Moves of state, killed with ``kill -9`` after each of their statements."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest
from opaque_keys.edx.keys import UsageKey
from pytest_django import Settings

from tests.acceptance import workers
from tests.acceptance.conftest import Manage
from tests.acceptance.processes import Crew
from tests.acceptance.scene import problems
from tests.factories import BY
from tests.relaying import ship_all
from xblock_user_state.actions import move_state
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import DoesNotExist
from xblock_user_state.models import HistoryOutbox, StudentModule

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.timeout(300)]

SITES: dict[str, dict[str, Any]] = {
    "default": {},
    "at once": {"EXTENDED_HISTORY": True},
    "by relay": {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"},
}
REVISIONS = 3
PAGE = 2


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.extended_history if SITES[name] else ()) for name in SITES]
)
def flags(request: pytest.FixtureRequest, settings: Settings) -> Mapping[str, Any]:
    """Settings of a site that keeps its history in one of the stores."""
    settings.XBLOCK_USER_STATE = SITES[request.param]
    return SITES[request.param]


def history_of(name: str, key: UsageKey) -> list[Any]:
    try:
        entries = list(DjangoXBlockUserStateClient().get_history(name, key))
    except DoesNotExist:
        return []
    return [(entry.state, entry.updated, entry.revision) for entry in entries]


def seen(name: str, *keys: UsageKey) -> list[Any]:
    """Return each state and entry of a learner under these keys, without the key."""
    found = DjangoXBlockUserStateClient().get_many(name, keys)
    states = [(state.state, state.updated, state.revision) for state in found]
    return [*states, *(entry for key in keys for entry in history_of(name, key))]


def test_a_killed_move_loses_and_doubles_nothing_and_goes_on(
    crew: Crew, learners: list[str], flags: Mapping[str, Any], manage: Manage
) -> None:
    names = learners[:3]
    old, new = problems("moved", 2)
    for number in range(REVISIONS):
        for name in names:
            DjangoXBlockUserStateClient().set(name, old, {"number": number, "who": name})
    before = {name: seen(name, old) for name in names}
    assert all(len(found) == 1 + REVISIONS for found in before.values())
    stopped_after, moved = set(), []
    for statement in count(1):
        worker = crew.start(workers.with_settings, flags, workers.move_until_death, old, new, PAGE, statement)
        moved = worker.wait_for_death()
        # Each learner has everything under one of the two keys, and nothing under the other.
        assert {name: seen(name, old, new) for name in names} == before
        assert all(bool(history_of(name, old)) is not bool(history_of(name, new)) for name in names)
        if moved:
            break
        at_new = StudentModule.objects.filter(block__usage_key=str(new)).count()
        stopped_after.add(at_new)
        assert move_state(old, new, **BY).states == len(names) - at_new
        assert {name: seen(name, new) for name in names} == before
        old, new = new, old
    assert moved == [len(names)]
    assert {0, PAGE, len(names)} >= stopped_after >= {0, PAGE}
    if flags:
        ship_all()
    assert not HistoryOutbox.objects.exists()
    assert {name: seen(name, new) for name in names} == before
    manage("check_history")

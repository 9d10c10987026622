"""Each lock names one learner where tables are distributed, and several relays share the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from tests.factories import BY, make_block, make_learners
from tests.integration.interference import just_before, needs_a_server, on_another_connection
from tests.integration.outage import ALIAS
from tests.integration.pinning import pins_a_learner
from tests.integration.shipping import BLOCKS, answer_all_blocks
from xblock_user_state.actions import delete_block, move_state
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history import entries
from xblock_user_state.history.entries import all_rows, extended_model
from xblock_user_state.history.outbox.relay import Relay
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.models import HistoryOutbox, StudentModule, StudentModuleHistory

pytestmark = [pytest.mark.extended_history, pytest.mark.django_db(transaction=True, databases=["default", ALIAS])]

NAMES = ("ann", "bob", "cid")
BY_RELAY = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}


@pytest.fixture(autouse=True)
def locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Take the tables for distributed, and collect the statements that lock rows; all must name one learner."""
    monkeypatch.setattr(entries, "is_distributed", lambda _: True)
    # So that three learners take two reads.
    monkeypatch.setattr(entries, "_LEARNERS_IN_A_READ", 2)
    locks: list[str] = []
    refused: list[str] = []

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if "FOR UPDATE" in sql:
            locks.append(sql)
            refused.extend([] if pins_a_learner(sql, params) else [sql])
        return execute(sql, params, many, context)

    make_learners(*NAMES)
    with connection.execute_wrapper(watch):
        yield locks
    assert refused == []
    assert locks or connection.vendor == "sqlite"


def write(times: int = 2) -> None:
    for name in NAMES:
        answer_all_blocks(times, name)


def count(model: Any, alias: str = "default") -> int:
    return all_rows(model, alias).count()


@pytest.mark.parametrize("size", [1, 7, 500])
def test_the_relay_ships_all_learners(settings: Settings, size: int) -> None:
    settings.XBLOCK_USER_STATE = BY_RELAY
    write()
    assert sum(Relay("default", size).all()) == 30
    assert (count(HistoryOutbox), count(extended_model(), ALIAS)) == (0, 30)


@needs_a_server
def test_a_second_relay_goes_past_the_learner_of_the_first(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = BY_RELAY
    write()
    shipped: list[int] = []

    def second() -> None:
        shipped.append(sum(Relay("default", 10).once()))

    with just_before("INSERT", extended_model(), lambda: on_another_connection(second), ALIAS):
        batches = list(Relay("default", 10).once())
    assert (batches[0], shipped) == (10, [20])
    assert count(extended_model(), ALIAS) == 30


@pytest.mark.parametrize("remove_source", [False, True])
def test_the_back_fill_copies_all_learners(remove_source: bool) -> None:
    write()
    pages = list(Backfill("default", 20, remove_source).pages())
    assert [page.copied for page in pages] == [20, 10]
    assert count(extended_model(), ALIAS) == 30
    assert count(StudentModuleHistory) == (0 if remove_source else 30)


@pytest.mark.parametrize("ships", ["at_once", "by_relay"])
def test_a_move_and_a_deletion_take_all_learners(settings: Settings, ships: str) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": ships}
    write()
    old, new = BLOCKS[0], make_block("new")
    before = list(DjangoXBlockUserStateClient().get_history("ann", old))
    assert move_state(old, new, **BY).states == 3
    assert [entry.state for entry in DjangoXBlockUserStateClient().get_history("ann", new)] == [
        entry.state for entry in before
    ]
    assert delete_block(new, **BY).states == 3
    sum(Relay("default", 500).all())
    assert (count(StudentModule), count(HistoryOutbox), count(extended_model(), ALIAS)) == (12, 0, 24)

"""One history entry for each change, newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from opaque_keys.edx.asides import AsideUsageKeyV2
from pytest_django import Settings
from xblock.fields import Scope

from tests.factories import make_block, make_blocks, make_learners
from tests.integration import shards
from tests.integration.remote_clients import OVER_A_NETWORK, REMOTE, remote_client
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import BlockKey, BlockScore, DoesNotExist, State, XBlockUserStateClient
from xblock_user_state.memory import InMemoryXBlockUserStateClient

pytestmark = pytest.mark.not_for_visitors

BLOCK = make_block()
DATABASES = ["default", "student_module_history"]


@pytest.fixture(
    params=[
        "memory",
        pytest.param("django", marks=pytest.mark.django_db),
        *([pytest.param("over the wire", marks=pytest.mark.django_db)] if connection.vendor == "sqlite" else []),
        *([pytest.param("over HTTP", marks=pytest.mark.django_db(transaction=True))] if REMOTE else []),
        *([pytest.param("citus", marks=pytest.mark.django_db)] if shards.ARE_THERE else []),
        pytest.param("outbox", marks=[pytest.mark.extended_history, pytest.mark.django_db(databases=DATABASES)]),
        pytest.param(
            "extended",
            marks=[pytest.mark.extended_history, pytest.mark.django_db(transaction=True, databases=DATABASES)],
        ),
    ]
)
def client(request: pytest.FixtureRequest, settings: Settings) -> Iterator[XBlockUserStateClient]:
    """A client with its history in memory, beside the state, in the outbox only, or in a separate database."""
    if request.param == "memory":
        yield InMemoryXBlockUserStateClient()
        return
    if request.param in OVER_A_NETWORK:
        with remote_client(request.param, request) as remote:
            yield remote
        return
    if request.param == "citus":
        request.getfixturevalue("shards_used")
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": request.param in ("outbox", "extended")}
    make_learners("ann", "bob", "cid")
    yield DjangoXBlockUserStateClient()


def states_of(client: XBlockUserStateClient, username: str = "ann", key: BlockKey = BLOCK) -> list[State | None]:
    """Return the states of the history, or an empty list if there is none."""
    try:
        return [entry.state for entry in client.get_history(username, key)]
    except DoesNotExist:
        return []


def test_each_change_is_an_entry(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1, "b": 1})
    client.set("ann", BLOCK, {"b": 2})
    client.delete("ann", BLOCK, fields=["a"])
    client.delete("ann", BLOCK)
    client.set("ann", BLOCK, {"c": 3})
    assert states_of(client) == [{"c": 3}, None, {"b": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 1}]


def test_an_entry_has_the_key_scope_and_time_of_its_change(client: XBlockUserStateClient) -> None:
    times = []
    for number in range(4):
        client.set("ann", BLOCK, {"a": number})
        times.append(client.get("ann", BLOCK).updated)
    entries = list(client.get_history("ann", BLOCK))
    assert [entry.updated for entry in entries] == times[::-1]
    assert {(entry.username, entry.block_key, entry.scope) for entry in entries} == {("ann", BLOCK, Scope.user_state)}
    assert {entry.updated.utcoffset() for entry in entries} == {timedelta(0)}


def test_a_change_that_changes_nothing_is_no_entry(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {})
    client.delete("ann", BLOCK)
    client.delete("ann", BLOCK, fields=["a"])
    client.set_score("ann", BLOCK, None, None)
    assert states_of(client) == []
    client.set("ann", BLOCK, {"a": [1]})
    client.set("ann", BLOCK, {"a": (1,)})
    client.set("ann", BLOCK, {})
    client.delete("ann", BLOCK, fields=["b"])
    client.delete("ann", BLOCK, fields=[])
    assert states_of(client) == [{"a": [1]}]
    client.delete("ann", BLOCK)
    client.delete("ann", BLOCK)
    client.delete("ann", BLOCK, fields=["a"])
    client.set("ann", BLOCK, {})
    assert states_of(client) == [None, {"a": [1]}]


def test_a_different_text_is_a_change_and_the_same_text_is_none(client: XBlockUserStateClient) -> None:
    values = [1, 1.0, True, "1", None, 0, 0.0, -0.0, False, "", [], {}, 10**20, 1e20, float("nan"), float("inf")]
    for value in values:
        client.set("ann", BLOCK, {"a": value})
        client.set("ann", BLOCK, {"a": value})
    assert len(states_of(client)) == len(values)


def test_a_different_order_of_keys_inside_a_value_is_a_change(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": {"x": 1, "y": 2}, "b": 0})
    client.set("ann", BLOCK, {"a": {"y": 2, "x": 1}})
    assert len(states_of(client)) == 2
    client.set("ann", BLOCK, {"b": 0, "a": {"y": 2, "x": 1}})
    assert len(states_of(client)) == 2


def test_a_score_is_an_entry_with_the_state_of_then(client: XBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 2, 2)
    client.set_score("ann", BLOCK, 2.0, 2)
    assert states_of(client) == [{"a": 1}, {"a": 1}, None]


def test_deleting_from_a_state_that_never_was_is_no_entry(client: XBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    client.delete("ann", BLOCK)
    client.delete("ann", BLOCK, fields=["a"])
    client.set("ann", BLOCK, {})
    assert states_of(client) == [None]


def test_each_block_of_a_call_has_its_own_entry(client: XBlockUserStateClient) -> None:
    blocks = make_blocks(3)
    client.set_many("ann", {key: {"a": number} for number, key in enumerate(blocks)})
    client.set_many("ann", {key: {"a": 1} for key in blocks})
    client.delete_many("ann", blocks)
    assert [states_of(client, key=key) for key in blocks] == [
        [None, {"a": 1}, {"a": 0}],
        [None, {"a": 1}],
        [None, {"a": 1}, {"a": 2}],
    ]


def test_learners_have_their_own_history(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"who": "ann"})
    client.set("bob", BLOCK, {"who": "bob"})
    client.delete("bob", BLOCK)
    assert states_of(client) == [{"who": "ann"}]
    assert states_of(client, "bob") == [None, {"who": "bob"}]
    assert states_of(client, "cid") == []


def test_the_block_of_an_aside_and_the_aside_have_their_own_history(client: XBlockUserStateClient) -> None:
    aside = AsideUsageKeyV2(BLOCK, "notes")
    client.set_many("ann", {BLOCK: {"a": 1}, aside: {"b": 1}})
    client.set("ann", aside, {"b": 2})
    assert states_of(client) == [{"a": 1}]
    assert states_of(client, key=aside) == [{"b": 2}, {"b": 1}]


def test_an_entry_has_its_revision_and_the_score_of_then(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 2)
    client.set("ann", BLOCK, {"a": 2})
    entries = list(client.get_history("ann", BLOCK))
    assert [entry.revision for entry in entries] == [3, 2, 1]
    assert [entry.score for entry in entries] == [
        BlockScore(1.0, 2.0, entries[0].updated),
        BlockScore(1.0, 2.0, entries[1].updated),
        None,
    ]


@pytest.mark.parametrize(
    ("window", "numbers"),
    [
        ({"limit": 2}, [9, 8]),
        ({"limit": 100}, [*range(9, -1, -1)]),
        ({"before_revision": 4}, [2, 1, 0]),
        ({"before_revision": 100, "limit": 1}, [9]),
        ({"before_revision": 4, "limit": 2}, [2, 1]),
        ({"before_revision": 1}, []),
    ],
    ids=repr,
)
def test_a_part_of_the_history(client: XBlockUserStateClient, window: dict[str, int], numbers: list[int]) -> None:
    for number in range(10):
        client.set("ann", BLOCK, {"number": number})
    states = [entry.state for entry in client.get_history("ann", BLOCK, **window)]
    assert states == [{"number": number} for number in numbers]


def test_pages_of_the_history_make_up_the_whole(client: XBlockUserStateClient) -> None:
    for number in range(10):
        client.set("ann", BLOCK, {"number": number})
    pages = [list(client.get_history("ann", BLOCK, limit=4))]
    while pages[-1]:
        oldest = pages[-1][-1].revision
        pages.append(list(client.get_history("ann", BLOCK, limit=4, before_revision=oldest)))
    assert [len(page) for page in pages] == [4, 4, 2, 0]
    assert [entry for page in pages for entry in page] == list(client.get_history("ann", BLOCK))


@pytest.mark.parametrize(
    ("window", "error"),
    [({"limit": 0}, ValueError), ({"before_revision": -1}, ValueError), ({"limit": "2"}, TypeError)],
    ids=repr,
)
def test_a_window_that_is_none(client: XBlockUserStateClient, window: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(window))):
        client.get_history("ann", BLOCK, **window)


def _never_seen(client: XBlockUserStateClient) -> None:
    client.get_history("ann", make_block("never_seen"))
    next(client.get_history("ann", make_block("never_seen")))


def _other_learner(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    next(client.get_history("bob", BLOCK))


def _not_recorded(client: XBlockUserStateClient) -> None:
    video = make_block(block_type="video")
    client.set("ann", video, {"a": 1})
    next(client.get_history("ann", video))


def _anonymous(client: XBlockUserStateClient) -> None:
    next(client.get_history(None, BLOCK))


def _preferences(client: XBlockUserStateClient) -> None:
    client.set("ann", "problem", {"a": 1}, Scope.preferences)
    next(client.get_history("ann", "problem", Scope.preferences))


def _user_info(client: XBlockUserStateClient) -> None:
    client.set("ann", None, {"a": 1}, Scope.user_info)
    next(client.get_history("ann", None, Scope.user_info))


def _summary(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1}, Scope.user_state_summary)
    next(client.get_history("ann", BLOCK, Scope.user_state_summary))


@pytest.mark.parametrize(
    "ask",
    [_never_seen, _other_learner, _not_recorded, _anonymous, _preferences, _user_info, _summary],
    ids=lambda ask: ask.__name__.strip("_"),
)
def test_where_nothing_was_recorded_there_is_no_history(
    client: XBlockUserStateClient, ask: Callable[[XBlockUserStateClient], None]
) -> None:
    with pytest.raises(DoesNotExist):
        ask(client)
    with pytest.raises(client.DoesNotExist):
        ask(client)

"""Rows in which SQL has stored a text that is no JSON object: errors that name them, and writes that mend them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from tests.factories import COURSE, make_block, make_learners
from tests.integration.measuring import measured as measured  # noqa: PLC0414 (a fixture)
from tests.sinks import Measurements
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import DamagedHistory, DamagedState
from xblock_user_state.models import StudentModuleHistory
from xblock_user_state.runtime import UserStateKeyValueStore
from xblock_user_state.store.tables import TABLES

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK, OTHER = make_block("damaged"), make_block("sound")
TEXTS = ["garbage", "[1,2]", "7", "null", '"text"', "", '{"a": 1', '{"a": 01}', '{"a": "\\x"}', '{"a":' + "[" * 3000]
KEYS: dict[Scope, Any] = {
    Scope.user_state: BLOCK,
    Scope.user_state_summary: BLOCK,
    Scope.preferences: "problem",
    Scope.user_info: None,
}
in_every_scope = pytest.mark.parametrize("scope", KEYS, ids=lambda scope: scope.name)


@pytest.fixture(autouse=True)
def _learners() -> None:
    make_learners("ann", "bob")


def damaged(scope: Scope = Scope.user_state, text: str = "garbage") -> DjangoXBlockUserStateClient:
    """Store a state, let SQL replace its text, and return a client that has not read it."""
    DjangoXBlockUserStateClient().set("ann", KEYS[scope], {"a": 1, "b": 2}, scope)
    TABLES[scope].model._base_manager.update(state=text)
    return DjangoXBlockUserStateClient()


def ann() -> Any:
    return get_user_model().objects.get(username="ann")


def kvs_key(scope: Scope, name: str = "a") -> KeyValueStore.Key:
    user_id = None if scope == Scope.user_state_summary else ann().pk
    return KeyValueStore.Key(scope, user_id, KEYS[scope], name, "xblock.v1")


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
@pytest.mark.parametrize("fields", [None, ["a"]], ids=["all", "some"])
def test_a_read_names_the_row_and_the_remedy(text: str, fields: list[str] | None) -> None:
    client = damaged(text=text)

    with pytest.raises(DamagedState) as raised:
        client.get("ann", BLOCK, fields=fields)

    message = str(raised.value)
    assert message.startswith(f"the state of 'ann' in {BLOCK} (user_state) can't be read: it is not ")
    assert message.endswith("set or delete it to mend it")
    with pytest.raises(client.DamagedState):
        list(client.get_many("ann", [OTHER, BLOCK], fields=fields))


@in_every_scope
def test_a_read_in_every_scope(scope: Scope) -> None:
    with pytest.raises(DamagedState, match=scope.name):
        damaged(scope).get("ann", KEYS[scope], scope)


@in_every_scope
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
def test_the_next_write_replaces_the_text(scope: Scope, text: str, caplog: pytest.LogCaptureFixture) -> None:
    client = damaged(scope, text)

    client.set("ann", KEYS[scope], {"c": 3}, scope)

    found = client.get("ann", KEYS[scope], scope)
    assert (found.state, found.revision) == ({"c": 3}, 2)
    [line] = caplog.messages
    assert line.startswith("a write replaces the state of learner ")
    assert f"({scope.name}), which can't be read: it is not " in line


@in_every_scope
@pytest.mark.parametrize("fields", [None, ["a"]], ids=["all", "some"])
def test_a_deletion_mends_the_row(scope: Scope, fields: list[str] | None) -> None:
    client = damaged(scope)

    client.delete("ann", KEYS[scope], scope, fields)

    with pytest.raises(client.DoesNotExist):
        client.get("ann", KEYS[scope], scope)


def test_a_write_of_a_client_that_has_read_the_text() -> None:
    client = damaged()
    with pytest.raises(DamagedState):
        client.get("ann", BLOCK)

    with client.batch("ann") as batch:
        batch.delete(BLOCK, ["a"])
        batch.set(BLOCK, {"c": 3})
        batch.set_score(BLOCK, 1, 2)

    assert client.get("ann", BLOCK).state == {"c": 3}


def test_a_score_leaves_the_text_alone() -> None:
    client = damaged()

    client.set_score("ann", BLOCK, 1, 2)

    with pytest.raises(DamagedState):
        client.get("ann", BLOCK)
    assert client.get_scores("ann", [BLOCK])[BLOCK].grade == 1


def test_a_write_of_no_fields_changes_nothing() -> None:
    client = damaged()

    client.set("ann", BLOCK, {})

    with pytest.raises(DamagedState):
        client.get("ann", BLOCK)


def test_iterations_leave_the_row_out(caplog: pytest.LogCaptureFixture) -> None:
    client = damaged()
    client.set("bob", OTHER, {"a": 1})

    assert [found.username for found in client.iter_all_for_course(COURSE)] == ["bob"]
    assert list(client.iter_all_for_block(BLOCK)) == []

    assert len(caplog.messages) == 2
    assert all(
        line.startswith(f"an iteration leaves out a row: the state of 'ann' in {BLOCK} (user_state) can't be read")
        for line in caplog.messages
    )


def test_the_history_before_stays_readable() -> None:
    client = damaged()
    client.set_score("ann", BLOCK, 1, 2)
    client.set("ann", BLOCK, {"c": 3})

    newest, damaged_entry, oldest = client.get_history("ann", BLOCK)

    assert newest.state == {"c": 3}
    assert oldest.state == {"a": 1, "b": 2}
    with pytest.raises(DamagedHistory, match=r"^'ann' in .*@damaged: revision 2 can't be read: it is not JSON"):
        _ = damaged_entry.state


def test_a_damaged_entry_is_named_once() -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCK, {"a": 1})
    StudentModuleHistory._base_manager.update(body=b"\xff")
    [entry] = client.get_history("ann", BLOCK)

    with pytest.raises(DamagedHistory) as raised:
        _ = entry.state

    assert str(raised.value).startswith(f"'ann' in {BLOCK}: revision 1 can't be read: ")


@in_every_scope
def test_a_block_of_a_runtime(scope: Scope) -> None:
    client, key = damaged(scope), kvs_key(scope)
    store = UserStateKeyValueStore(client, ann())

    with pytest.raises(DamagedState, match=scope.name):
        store.get(key)
    with pytest.raises(DamagedState):
        store.has(key)
    store.set(key, 7)

    assert store.get(key) == 7
    assert not store.has(kvs_key(scope, "b"))
    assert UserStateKeyValueStore(client, ann()).get(key) == 7


@in_every_scope
def test_a_guarded_unit(scope: Scope) -> None:
    client, key = damaged(scope), kvs_key(scope)
    store = UserStateKeyValueStore(client, ann())

    for value in (7, 8):
        with store.unit_of_work(guarded=True):
            if value == 7:
                with pytest.raises(DamagedState):
                    store.get(key)
            store.set(key, value)

    assert client.get("ann", KEYS[scope], scope).state == {"a": 8}


def test_metrics_of_the_write_that_mends(measured: Measurements) -> None:
    client = damaged()
    measured.clear()

    client.set("ann", BLOCK, {"c": 3})

    assert measured.total("set_many.state_updated") == 1

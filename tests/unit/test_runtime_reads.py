"""`UserStateKeyValueStore` reads a row once, and its cache stays true after writes that succeed or fail."""

from __future__ import annotations

import pytest
from xblock.exceptions import KeyValueMultiSaveError
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from tests.counting import CountingClient
from tests.factories import ADA, BEN, make_block
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.runtime import UserStateKeyValueStore

BLOCK = make_block()


def key(name: str) -> KeyValueStore.Key:
    return KeyValueStore.Key(Scope.user_state, ADA.id, BLOCK, name, "xblock.v1")


@pytest.fixture
def client() -> CountingClient:
    """A client with a state of ada."""
    client = CountingClient()
    client.set("ada", BLOCK, {"a": 1, "b": [1]})
    return client


def stored(client: CountingClient) -> object:
    return client.get("ada", BLOCK).state


def test_all_fields_of_a_row_are_read_at_once(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    assert (kvs.has(key("a")), kvs.get(key("a")), kvs.get(key("b")), kvs.has(key("c"))) == (True, 1, [1], False)
    assert client.reads == ["user_state"]


def test_a_row_that_is_not_there_is_asked_for_once(client: CountingClient) -> None:
    ben = UserStateKeyValueStore(client, BEN)
    for name in "abc":
        assert not ben.has(key(name)._replace(user_id=8))
    assert client.reads == ["user_state"]


def test_the_siblings_of_a_written_field_stay(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    kvs.get(key("a"))
    kvs.set_many({key("a"): 2})
    assert (kvs.get(key("a")), kvs.get(key("b"))) == (2, [1])
    assert client.reads == ["user_state"]


def test_a_field_that_was_written_is_known_before_its_row_was_read(
    client: CountingClient, kvs: UserStateKeyValueStore
) -> None:
    kvs.set_many({key("a"): 2})
    assert kvs.get(key("a")) == 2
    assert client.reads == []
    assert kvs.get(key("b")) == [1]
    assert kvs.get(key("a")) == 2
    assert client.reads == ["user_state"]


def test_a_deleted_field_is_absent_and_its_siblings_stay(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    kvs.delete(key("a"))
    assert not kvs.has(key("a"))
    with pytest.raises(KeyError):
        kvs.delete(key("a"))
    assert kvs.get(key("b")) == [1]
    assert client.reads == ["user_state"]
    assert stored(client) == {"b": [1]}


def test_a_value_that_was_written_is_kept_as_it_was_then(kvs: UserStateKeyValueStore) -> None:
    value = {"colors": ["red"]}
    kvs.set_many({key("a"): value})
    value["colors"].append("blue")
    kvs.get(key("a"))["colors"].append("green")
    assert kvs.get(key("a")) == {"colors": ["red"]}


def test_a_write_that_fails_changes_nothing(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    kvs.get(key("a"))
    client.is_down = True
    with pytest.raises(KeyValueMultiSaveError) as caught:
        kvs.set_many({key("a"): 2, key("c"): 3})
    assert caught.value.saved_field_names == []
    with pytest.raises(ServiceUnavailable):
        kvs.set(key("a"), 2)
    with pytest.raises(ServiceUnavailable):
        kvs.delete(key("a"))
    assert (kvs.get(key("a")), kvs.get(key("b")), kvs.has(key("c"))) == (1, [1], False)
    client.is_down = False
    assert stored(client) == {"a": 1, "b": [1]}


def test_a_read_that_fails_is_made_again(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    client.is_down = True
    with pytest.raises(ServiceUnavailable):
        kvs.has(key("a"))
    client.is_down = False
    assert kvs.get(key("a")) == 1


def test_what_others_have_written_meanwhile_is_not_undone(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    kvs.get(key("a"))
    client.set("ada", BLOCK, {"b": [2], "c": 3})
    kvs.set_many({key("a"): 2})
    assert stored(client) == {"a": 2, "b": [2], "c": 3}


def test_a_value_that_was_read_is_written_though_it_seems_to_be_the_same(
    client: CountingClient, kvs: UserStateKeyValueStore
) -> None:
    """The last commit wins: another request may have written since the read."""
    assert kvs.get(key("a")) == 1
    client.set("ada", BLOCK, {"a": 2})
    kvs.set_many({key("a"): 1})
    assert stored(client) == {"a": 1, "b": [1]}

"""Behaviour of the in-memory client alone; the contract's tests are in tests/integration/contract."""

from __future__ import annotations

from threading import Thread

import pytest

from tests.factories import make_block
from xblock_user_state.interface import DoesNotExist
from xblock_user_state.memory import InMemoryXBlockUserStateClient

BLOCK = make_block()


@pytest.mark.usefixtures("eager_threads")
def test_threads_that_share_a_client_lose_nothing() -> None:
    client = InMemoryXBlockUserStateClient()

    def write(name: str) -> None:
        for number in range(100):
            client.set("ann", BLOCK, {f"{name}{number}": number})

    threads = [Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(client.get("ann", BLOCK).state or {}) == 400
    assert len(list(client.get_history("ann", BLOCK))) == 400


def test_clients_are_apart() -> None:
    one, other = InMemoryXBlockUserStateClient(), InMemoryXBlockUserStateClient()
    one.set("ann", BLOCK, {"a": 1})
    with pytest.raises(DoesNotExist):
        other.get("ann", BLOCK)


def test_every_name_is_a_user() -> None:
    client = InMemoryXBlockUserStateClient()
    for name in ("ann", "Ann", "somebody else"):
        client.set(name, BLOCK, {"who": name})
    assert {found.username for found in client.iter_all_for_block(BLOCK)} == {"ann", "Ann", "somebody else"}


@pytest.mark.parametrize(
    ("recorded", "expected"), [(["video"], ["video"]), ("*", ["problem", "video"]), ([], [])], ids=repr
)
def test_which_types_are_recorded_is_chosen_at_the_start(recorded: list[str] | str, expected: list[str]) -> None:
    client = InMemoryXBlockUserStateClient(recorded_block_types=recorded)
    found = []
    for block_type in ("problem", "video"):
        key = make_block("some", block_type)
        client.set("ann", key, {"a": 1})
        try:
            found += [block_type for _ in client.get_history("ann", key)]
        except DoesNotExist:
            continue
    assert found == expected

"""`UserStateService`: access of blocks to the state of other blocks and learners."""

from __future__ import annotations

from typing import Any

import pytest
from opaque_keys.edx.keys import UsageKey
from xblock.core import XBlock
from xblock.exceptions import NoSuchServiceError
from xblock.field_data import DictFieldData
from xblock.fields import ScopeIds
from xblock.test.tools import TestRuntime

from tests.factories import make_block, make_blocks
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import UserStateService

BLOCK, OTHER, EMPTY = make_blocks(3)


@pytest.fixture
def client() -> InMemoryXBlockUserStateClient:
    client = InMemoryXBlockUserStateClient()
    client.set_many("ann", {BLOCK: {"a": [1], "b": 2}, OTHER: {"b": 3}})
    client.set("bob", BLOCK, {"a": "bob's"})
    return client


def test_a_learners_own_state_is_read_in_any_block(client: InMemoryXBlockUserStateClient) -> None:
    service = UserStateService(client, "ann")
    assert service.get_state("ann", BLOCK) == {"a": [1], "b": 2}
    assert service.get_state("ann", BLOCK, fields=["b"]) == {"b": 2}
    assert service.get_state("ann", EMPTY) == {}
    assert service.get_states("ann", [OTHER, EMPTY, BLOCK], fields=["b"]) == {OTHER: {"b": 3}, BLOCK: {"b": 2}}


@pytest.mark.parametrize("reader", ["bob", "Ann", "ann ", ""])
def test_nobody_elses_state_is_read_unless_the_host_says_so(client: InMemoryXBlockUserStateClient, reader: str) -> None:
    service = UserStateService(client, reader)
    with pytest.raises(PermissionDenied, match=f"'{reader}' may not read the state of 'ann' in block-v1"):
        service.get_state("ann", BLOCK)
    with pytest.raises(PermissionDenied):
        service.get_state("ann", EMPTY)


def test_the_host_is_asked_who_reads_whose_state_in_which_block(client: InMemoryXBlockUserStateClient) -> None:
    asked: list[tuple[str, str, UsageKey]] = []

    def may_read(reader: str, learner: str, block_key: UsageKey) -> bool:
        asked.append((reader, learner, block_key))
        return block_key != OTHER

    service = UserStateService(client, "grace", may_read)
    assert service.get_states("ann", [BLOCK, EMPTY]) == {BLOCK: {"a": [1], "b": 2}}
    assert asked == [("grace", "ann", BLOCK), ("grace", "ann", EMPTY)]
    with pytest.raises(PermissionDenied, match=str(OTHER).replace("+", r"\+")):
        service.get_states("ann", [BLOCK, OTHER])


def test_the_host_may_deny_a_learner_their_own_state(client: InMemoryXBlockUserStateClient) -> None:
    with pytest.raises(PermissionDenied):
        UserStateService(client, "ann", lambda *_: False).get_state("ann", BLOCK)


def test_blocks_can_change_returned_states(client: InMemoryXBlockUserStateClient) -> None:
    service = UserStateService(client, "ann")
    service.get_state("ann", BLOCK)["a"].append(2)
    assert service.get_state("ann", BLOCK)["a"] == [1]


def test_a_key_that_is_none_is_refused(client: InMemoryXBlockUserStateClient) -> None:
    key: Any = "block-v1:Astro+A101+2026+type@problem+block@block0"
    with pytest.raises(TypeError, match="UsageKey"):
        UserStateService(client, "ann").get_state("ann", key)


@XBlock.needs("user_state")
class RecapBlock(XBlock):
    """Shows the learner's work in another block."""

    def recap(self) -> Any:
        return self.runtime.service(self, "user_state").get_state("ann", BLOCK)


def test_a_block_gets_it_from_its_runtime(client: InMemoryXBlockUserStateClient) -> None:
    def block(services: dict[str, object]) -> RecapBlock:
        runtime = TestRuntime(services={"field-data": DictFieldData({}), **services})
        ids = ScopeIds(7, "recap", "definition", make_block("recap", "recap"))
        return runtime.construct_xblock_from_class(RecapBlock, ids)

    assert block({"user_state": UserStateService(client, "ann")}).recap() == {"a": [1], "b": 2}
    with pytest.raises(NoSuchServiceError):
        block({}).recap()

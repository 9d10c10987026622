"""`UserStateService`: access of blocks to the state of other blocks and learners."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from opaque_keys.edx.asides import AsideUsageKeyV2
from xblock.core import XBlock
from xblock.exceptions import NoSuchServiceError
from xblock.field_data import DictFieldData
from xblock.fields import ScopeIds
from xblock.test.tools import TestRuntime

from tests.factories import BEN, COURSE, make_block, make_blocks
from tests.policies import Asked, refuse
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
    policy = Asked(lambda question: question.block_key != OTHER)
    service = UserStateService(client, "grace", policy)
    assert service.get_states("ann", [BLOCK, EMPTY]) == {BLOCK: {"a": [1], "b": 2}}
    assert policy.questions == [("grace", "read", "ann", COURSE, BLOCK), ("grace", "read", "ann", COURSE, EMPTY)]
    with pytest.raises(PermissionDenied, match=str(OTHER).replace("+", r"\+")):
        service.get_states("ann", [BLOCK, OTHER])


def test_the_host_may_deny_a_learner_their_own_state(client: InMemoryXBlockUserStateClient) -> None:
    with pytest.raises(PermissionDenied):
        UserStateService(client, "ann", Asked(refuse)).get_state("ann", BLOCK)


def test_blocks_can_change_returned_states(client: InMemoryXBlockUserStateClient) -> None:
    service = UserStateService(client, "ann")
    service.get_state("ann", BLOCK)["a"].append(2)
    assert service.get_state("ann", BLOCK)["a"] == [1]


def test_a_key_that_is_none_is_refused(client: InMemoryXBlockUserStateClient) -> None:
    key: Any = "block-v1:Astro+A101+2026+type@problem+block@block0"
    with pytest.raises(TypeError, match="UsageKey"):
        UserStateService(client, "ann").get_state("ann", key)


def names(name: str) -> str | None:
    """Return the username for a name or an address, as a host with these accounts does."""
    accounts = {"ann": "ann@example.com", "bob": "bob@example.com"}
    return next((username for username, address in accounts.items() if name in (username, address)), None)


@pytest.mark.parametrize("block_id", [BLOCK, str(BLOCK)], ids=type)
def test_open_edx_s_method_takes_a_key_or_its_text(client: InMemoryXBlockUserStateClient, block_id: Any) -> None:
    assert UserStateService(client, "ann").get_state_as_dict("ann", block_id) == {"a": [1], "b": 2}


def test_it_takes_the_key_of_an_aside(client: InMemoryXBlockUserStateClient) -> None:
    aside = AsideUsageKeyV2(BLOCK, "notes_aside")
    client.set("ann", aside, {"note": "x"})
    assert UserStateService(client, "ann").get_state_as_dict("ann", str(aside)) == {"note": "x"}


@pytest.mark.parametrize(
    "block_id",
    [EMPTY, str(EMPTY), "", "moon", "i4x://Sky/Astro101/problem/moon", f"{BLOCK}\n", str(BLOCK.course_key)],
    ids=repr,
)
def test_it_returns_an_empty_state_where_there_is_none(client: InMemoryXBlockUserStateClient, block_id: Any) -> None:
    assert UserStateService(client, "ann").get_state_as_dict("ann", block_id) == {}


@pytest.mark.parametrize("nobody", ["nobody", "nobody@example.com", "ANN", "", None], ids=repr)
def test_it_returns_an_empty_state_for_nobody(client: InMemoryXBlockUserStateClient, nobody: str | None) -> None:
    service = UserStateService(client, "grace", Asked(), username_of=names)
    assert service.get_state_as_dict(nobody, BLOCK) == {}


def test_it_finds_a_learner_by_address_as_the_host_says(client: InMemoryXBlockUserStateClient) -> None:
    assert UserStateService(client, "bob", username_of=names).get_state_as_dict("bob@example.com", BLOCK) == {
        "a": "bob's"
    }
    assert UserStateService(client, "grace", Asked()).get_state_as_dict("bob@example.com", BLOCK) == {}


@pytest.mark.parametrize("learner", ["ann", "ann@example.com", "nobody", "nobody@example.com"])
def test_it_asks_the_policy_also_for_nobody(client: InMemoryXBlockUserStateClient, learner: str) -> None:
    with pytest.raises(PermissionDenied, match="'bob' may not read"):
        UserStateService(client, "bob", username_of=names).get_state_as_dict(learner, BLOCK)


def test_the_policy_is_asked_about_the_learner_s_username(client: InMemoryXBlockUserStateClient) -> None:
    policy = Asked()
    UserStateService(client, "grace", policy, username_of=names).get_state_as_dict("bob@example.com", BLOCK)
    assert [question.username for question in policy.questions] == ["bob"]


def test_a_reader_is_a_user_or_their_name(client: InMemoryXBlockUserStateClient) -> None:
    assert UserStateService(client, User(username="ann")).get_state("ann", OTHER) == {"b": 3}
    with pytest.raises(PermissionDenied, match="'ben' may not read"):
        UserStateService(client, BEN).get_state("ann", OTHER)


def test_an_object_that_is_no_key_is_refused(client: InMemoryXBlockUserStateClient) -> None:
    no_key: Any = 7
    with pytest.raises(TypeError, match="UsageKey"):
        UserStateService(client, "ann").get_state_as_dict("ann", no_key)


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

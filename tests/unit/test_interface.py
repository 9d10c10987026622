"""The contract: its names, the order of its arguments, its errors."""

from __future__ import annotations

import copy
import inspect
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from edx_user_state_client import interface as reference
from xblock.fields import Scope

from tests.factories import make_blocks
from xblock_user_state import interface
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import (
    BlockKeyCollision,
    BlockScore,
    DamagedHistory,
    DoesNotExist,
    HistoryEntry,
    PermissionDenied,
    ServiceUnavailable,
    UserDoesNotExist,
    UserStateError,
    XBlockUserState,
    XBlockUserStateClient,
)
from xblock_user_state.memory import InMemoryXBlockUserStateClient

ERRORS = [
    UserStateError,
    ServiceUnavailable,
    PermissionDenied,
    DoesNotExist,
    UserDoesNotExist,
    DamagedHistory,
    BlockKeyCollision,
]
METHODS = [
    "get",
    "get_many",
    "set",
    "set_many",
    "delete",
    "delete_many",
    "get_history",
    "iter_all_for_block",
    "iter_all_for_course",
]
CLIENTS = [XBlockUserStateClient, DjangoXBlockUserStateClient, InMemoryXBlockUserStateClient]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_arguments_are_the_references_in_name_order_and_default(client: type, method: str) -> None:
    ours = inspect.signature(getattr(client, method)).parameters
    theirs = inspect.signature(getattr(reference.XBlockUserStateClient, method)).parameters
    assert [*ours][: len(theirs)] == [*theirs]
    assert [*ours][len(theirs) :] in ([], ["batch_size"], ["limit", "before_revision"])
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default
        assert ours[name].kind == parameter.kind


@pytest.mark.parametrize("client", CLIENTS[1:], ids=lambda client: client.__name__)
@pytest.mark.parametrize("method", [*METHODS, "get_encoded", "set_score", "get_scores", "batch"])
def test_clients_take_the_arguments_of_the_contract(client: type, method: str) -> None:
    ours = inspect.signature(getattr(client, method)).parameters.values()
    contract = inspect.signature(getattr(XBlockUserStateClient, method)).parameters.values()
    assert [(one.name, one.default, one.kind) for one in ours] == [
        (one.name, one.default, one.kind) for one in contract
    ]


def test_a_result_is_the_references_tuple() -> None:
    assert XBlockUserState._fields == reference.XBlockUserState._fields


def test_an_entry_of_the_history_is_a_result_that_knows_more() -> None:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    score = BlockScore(1.0, 2.0, time)
    entry = HistoryEntry(("ann", "key", {"a": 1}, time, Scope.user_state), 7, score)
    assert entry == XBlockUserState("ann", "key", {"a": 1}, time, Scope.user_state)
    assert (entry.state, entry.revision, entry.score) == ({"a": 1}, 7, score)
    again = copy.deepcopy(entry)
    assert (again, again.revision, again.score) == (entry, 7, score)
    assert "revision=7, score=BlockScore(grade=1.0" in repr(entry)


def test_reading_the_state_of_a_damaged_entry_is_an_error() -> None:
    error = DamagedHistory("revision 7 can't be read")
    entry = HistoryEntry(("ann", "key", error, datetime(2026, 1, 1, tzinfo=UTC), Scope.user_state), 7, None)
    assert (entry.revision, entry.score) == (7, None)
    with pytest.raises(DamagedHistory, match="revision 7 can't be read"):
        entry.state  # noqa: B018
    assert "revision 7 can't be read" in repr(entry)


def test_errors_can_be_reached_from_a_client() -> None:
    client = InMemoryXBlockUserStateClient()
    for error in ERRORS:
        assert getattr(client, error.__name__) is error
        assert getattr(DjangoXBlockUserStateClient, error.__name__) is error


def test_the_tree_of_errors() -> None:
    assert all(issubclass(error, UserStateError) for error in ERRORS)
    assert issubclass(UserDoesNotExist, DoesNotExist)
    assert not issubclass(DoesNotExist, LookupError)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_without_a_message_says_what_it_means(error: type[UserStateError]) -> None:
    assert str(error()) == error.__doc__
    assert str(error("what happened")) == "what happened"


def test_a_client_without_all_methods_cannot_be_made() -> None:
    class Incomplete(XBlockUserStateClient):
        pass

    with pytest.raises(TypeError, match="get_many"):
        Incomplete()  # type: ignore[abstract]
    assert inspect.isabstract(interface.XBlockUserStateClient)


def test_the_in_memory_client_needs_no_django() -> None:
    """For unit tests of hosts that set up nothing."""
    program = """
import sys
from opaque_keys.edx.keys import UsageKey
from xblock_user_state.memory import InMemoryXBlockUserStateClient
client = InMemoryXBlockUserStateClient()
key = UsageKey.from_string("block-v1:a+b+c+type@problem+block@d")
client.set("ann", key, {"a": 1})
assert client.get("ann", key).state == {"a": 1}
assert not [name for name in sys.modules if name == "django" or name.startswith("django.")]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


class DecodingClient(InMemoryXBlockUserStateClient):
    """A client of another make, which stores no texts."""

    get_encoded = XBlockUserStateClient.get_encoded


def test_a_client_that_stores_no_texts_encodes_states() -> None:
    client = DecodingClient()
    states = {block: {"a": [float("nan"), "ü\ud800"], "b": {}} for block in make_blocks(2)}
    client.set_many("ann", states)
    assert client.get_encoded("ann", states) == InMemoryXBlockUserStateClient.get_encoded(client, "ann", states)

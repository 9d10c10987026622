"""The contract: its names, the order of its arguments, its errors."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from edx_user_state_client import interface as reference
from xblock.fields import Scope

from tests.factories import make_blocks
from xblock_user_state import interface
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import (
    BlockKeyCollision,
    BlockScore,
    Conflict,
    ConflictingRow,
    DamagedHistory,
    DamagedState,
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
from xblock_user_state.runtime.guarding import LockableConflict

ERRORS = [
    UserStateError,
    ServiceUnavailable,
    PermissionDenied,
    DoesNotExist,
    UserDoesNotExist,
    Conflict,
    DamagedHistory,
    DamagedState,
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
ADDED = [[], ["batch_size", "using", "at_least"], ["limit", "before_revision"], ["if_revision"], ["if_revisions"]]
CLIENTS = [XBlockUserStateClient, DjangoXBlockUserStateClient, InMemoryXBlockUserStateClient]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_arguments_are_the_references_in_name_order_and_default(client: type, method: str) -> None:
    ours = inspect.signature(getattr(client, method)).parameters
    theirs = inspect.signature(getattr(reference.XBlockUserStateClient, method)).parameters
    assert [*ours][: len(theirs)] == [*theirs]
    assert [*ours][len(theirs) :] in ADDED
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


TIME = datetime(2026, 1, 1, tzinfo=UTC)
RESULT = XBlockUserState("ann", "key", {"a": 1}, TIME, Scope.user_state, 7)
SCORE = BlockScore(1.0, 2.0, TIME)
ENTRY = HistoryEntry("ann", "key", {"a": 1}, TIME, Scope.user_state, 7, SCORE, "tutor")
DAMAGED = HistoryEntry("ann", "key", DamagedHistory("revision 7 is damaged"), TIME, Scope.user_state, 7, SCORE, "tutor")


def test_a_result_has_five_fields_and_a_revision() -> None:
    assert tuple(RESULT) == ("ann", "key", {"a": 1}, TIME, Scope.user_state)
    assert RESULT.revision == 7
    assert repr(RESULT).startswith("XBlockUserState(username='ann', block_key='key', ")
    assert repr(RESULT).endswith(", revision=7)")


def test_a_result_may_be_made_without_a_revision_and_is_equal_all_the_same() -> None:
    result = XBlockUserState(*RESULT)
    assert result.revision is None
    assert result == RESULT == tuple(RESULT)
    assert RESULT._replace(username="bob") != RESULT
    assert len({result._replace(state=None), RESULT._replace(state=None)}) == 1


def test_a_result_is_made_of_its_six_values() -> None:
    assert XBlockUserState._make([*RESULT, 7]).revision == 7
    assert XBlockUserState._make(tuple(RESULT)).revision is None
    assert XBlockUserState(**RESULT._asdict()).revision == 7
    replaced = RESULT._replace(state=None)
    assert (type(replaced), replaced.state, replaced.revision) == (XBlockUserState, None, 7)
    assert RESULT._replace(revision=8).revision == 8


def test_a_history_entry_is_a_result_of_five_fields_with_revision_and_score() -> None:
    assert tuple(ENTRY) == XBlockUserState("ann", "key", {"a": 1}, TIME, Scope.user_state)
    assert (ENTRY.state, ENTRY.revision, ENTRY.score) == ({"a": 1}, 7, SCORE)
    assert "revision=7, score=BlockScore(grade=1.0" in repr(ENTRY)
    assert repr(ENTRY).endswith(", actor='tutor', archived=False)")


def test_history_entries_are_equal_if_all_values_are() -> None:
    same = HistoryEntry("ann", "key", {"a": 1}, TIME, Scope.user_state, 7, BlockScore(1.0, 2.0, TIME), "tutor")
    # ``!=`` is a separate operator, which tuples define too.
    assert same == ENTRY
    assert not same != ENTRY  # noqa: SIM202
    others = ({"revision": 8}, {"score": None}, {"state": {"a": 2}}, {"actor": None}, {"archived": True})
    for other in (ENTRY._replace(**changes) for changes in others):
        assert other != ENTRY
        assert not other == ENTRY  # noqa: SIM201
    result = XBlockUserState(*ENTRY)
    assert result != ENTRY
    assert not result == ENTRY  # noqa: SIM201


def test_history_entries_without_a_state_can_be_in_a_set() -> None:
    deleted = ENTRY._replace(state=None)
    assert len({deleted, ENTRY._replace(state=None), deleted._replace(revision=8)}) == 2


def test_replacing_a_field_of_a_history_entry_keeps_the_others() -> None:
    replaced = ENTRY._replace(username="bob")
    assert type(replaced) is HistoryEntry
    assert (replaced.username, replaced.state, replaced.revision, replaced.score) == ("bob", {"a": 1}, 7, SCORE)
    again = ENTRY._replace(revision=8, score=None)
    assert (again.username, again.revision, again.score) == ("ann", 8, None)
    with pytest.raises(TypeError, match="colour"):
        ENTRY._replace(colour="red")


def test_a_history_entry_is_made_of_its_values() -> None:
    assert HistoryEntry._make([*ENTRY, 7, SCORE, "tutor"]) == ENTRY
    assert HistoryEntry._make([*ENTRY, 7, SCORE]).actor is None
    assert HistoryEntry(**ENTRY._asdict()) == ENTRY
    assert [*ENTRY._asdict()] == [*XBlockUserState._fields, "revision", "score", "actor", "archived"]
    with pytest.raises(TypeError, match="revision"):
        HistoryEntry._make([*ENTRY])


def _pickled(value: object, protocol: int) -> Any:
    return pickle.loads(pickle.dumps(value, protocol))  # noqa: S301


each_copy = pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, *(partial(_pickled, protocol=protocol) for protocol in (2, 5))],
    ids=["copy", "deepcopy", "pickle 2", "pickle 5"],
)


@each_copy
def test_copies_of_a_result_have_its_revision(copied: Callable[[XBlockUserState], XBlockUserState]) -> None:
    again = copied(RESULT)
    assert (type(again), again, again.revision) == (XBlockUserState, RESULT, 7)


@each_copy
def test_a_conflict_can_be_copied(copied: Callable[[Conflict], Conflict]) -> None:
    row = ConflictingRow(Scope.user_state, "key", expected=1, actual=2)
    again = copied(Conflict("another was first", rows=[row]))
    assert str(again) == "another was first"
    assert [(found.block_key, found.expected, found.actual) for found in again.rows] == [("key", 1, 2)]


@each_copy
def test_a_conflict_of_a_unit_is_copied_without_its_lock(copied: Callable[[Conflict], Conflict]) -> None:
    row = ConflictingRow(Scope.user_state, "key", expected=1, actual=2)
    shown = LockableConflict("another was first", rows=[row], lock=nullcontext)
    again = copied(shown)
    assert traceback.format_exception_only(shown) == traceback.format_exception_only(again)
    assert (type(again), str(again), again.rows) == (Conflict, "another was first", [row])


@each_copy
def test_copies_of_a_score_have_its_time_of_creation(copied: Callable[[BlockScore], BlockScore]) -> None:
    score = BlockScore(1, 2, datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
    assert (copied(score), copied(score).created) == (score, score.created)
    changed = score._replace(grade=None)
    assert (*changed, changed.created) == (None, *score[1:], score.created)
    assert BlockScore(*score).created is None
    assert repr(score).endswith("created=datetime.datetime(2026, 3, 3, 0, 0, tzinfo=datetime.timezone.utc))")


@each_copy
def test_copies_of_a_history_entry_have_its_revision_and_score(copied: Callable[[HistoryEntry], HistoryEntry]) -> None:
    assert copied(ENTRY) == ENTRY
    damaged = copied(DAMAGED)
    assert (damaged.revision, damaged.score, damaged.actor) == (7, SCORE, "tutor")
    with pytest.raises(DamagedHistory, match="revision 7 is damaged"):
        damaged.state  # noqa: B018


def test_a_damaged_history_entry_can_be_read_apart_from_its_state() -> None:
    with pytest.raises(DamagedHistory, match="revision 7 is damaged"):
        DAMAGED.state  # noqa: B018
    username, block_key, _, updated, scope = DAMAGED
    assert (username, block_key, updated, scope) == ("ann", "key", TIME, Scope.user_state)
    assert isinstance(tuple(DAMAGED)[2], DamagedHistory)
    assert (DAMAGED.revision, DAMAGED.score) == (7, SCORE)
    assert DAMAGED == DAMAGED._replace(username="ann") != ENTRY
    assert DAMAGED._replace(state={"a": 1}) == ENTRY
    assert "revision 7 is damaged" in repr(DAMAGED)


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


IN_MEMORY = """
from xblock_user_state.memory import InMemoryXBlockUserStateClient
client = InMemoryXBlockUserStateClient()
"""
OVER_HTTP = """
import httpx2
from xblock_user_state.remote import RemoteXBlockUserStateClient

def answer(request):
    row = {"revision": 1, "state": {"a": 1}, "created": "2026-01-02T03:04:05Z", "updated": "2026-01-02T03:04:05Z"}
    return httpx2.Response(200, json={"rows": [row]})

client = RemoteXBlockUserStateClient("http://service.test/", "token", network=httpx2.MockTransport(answer))
"""


@pytest.mark.parametrize("made", [IN_MEMORY, OVER_HTTP], ids=["in memory", "over HTTP"])
def test_clients_without_a_database_need_no_django(made: str) -> None:
    """Hosts use them in unit tests without setting up Django, and where Django is not installed."""
    program = """
import sys
# As if it were not installed.
sys.modules["django"] = None
from opaque_keys.edx.keys import UsageKey
{made}
key = UsageKey.from_string("block-v1:a+b+c+type@problem+block@d")
client.set("ann", key, {{"a": 1}})
assert client.get("ann", key).state == {{"a": 1}}
assert not [name for name in sys.modules if name.startswith("django.")]
"""
    subprocess.run([sys.executable, "-c", program.format(made=made)], check=True)


class DecodingClient(InMemoryXBlockUserStateClient):
    """A third-party client that stores no texts."""

    get_encoded = XBlockUserStateClient.get_encoded


def test_a_client_that_stores_no_texts_encodes_states() -> None:
    client = DecodingClient()
    states = {block: {"a": [float("nan"), "ü\ud800"], "b": {}} for block in make_blocks(2)}
    client.set_many("ann", states)
    assert client.get_encoded("ann", states) == InMemoryXBlockUserStateClient.get_encoded(client, "ann", states)

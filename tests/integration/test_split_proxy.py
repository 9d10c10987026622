"""A proxy sends reads to a replica that lags, as pgpool and MaxScale can: no write is lost, no call fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from tests.blocks import PageRuntime, make_page
from tests.factories import make_block, make_blocks, make_learners
from tests.integration.replicas import Replica, splitting
from tests.integration.replicas import replica as replica  # noqa: PLC0414 (a fixture)
from tests.integration.rows import assert_history_is_gapless
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import Conflict
from xblock_user_state.models import StudentModule
from xblock_user_state.runtime import UserStateKeyValueStore, run_guarded
from xblock_user_state.state.keys import identify_block
from xblock_user_state.store import hot_rows

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()
OTHER = make_block("other")
Client = DjangoXBlockUserStateClient


@pytest.fixture
def ann(replica: Replica) -> User:
    """A learner, on a site behind the proxy. The replica stays as it is now, without any state."""
    [ann] = make_learners("ann")
    return ann


def client_of_a_new_process(user: User) -> Client:
    """Return a client that has read nothing, in a process that has met no conflict."""
    hot_rows._until.clear()
    return DjangoXBlockUserStateClient(user)


@pytest.mark.parametrize("around", [nullcontext, transaction.atomic])
def test_sixty_writes_to_a_new_block_are_all_there(
    ann: User, around: Callable[[], AbstractContextManager[None]]
) -> None:
    with splitting():
        for number in range(60):
            client = client_of_a_new_process(ann)
            with around():
                client.set("ann", BLOCK, {f"{number}": number})
    assert DjangoXBlockUserStateClient(ann).get("ann", BLOCK).state == {f"{each}": each for each in range(60)}
    assert StudentModule.objects.get().revision == 60
    assert_history_is_gapless()


def test_writes_of_all_kinds_are_all_there(ann: User) -> None:
    blocks = make_blocks(2)
    with splitting():
        for number in range(1, 6):
            client_of_a_new_process(ann).set_many("ann", {block: {f"{number}": number} for block in blocks})
            client_of_a_new_process(ann).set_score("ann", blocks[0], number, 9)
            client_of_a_new_process(ann).set("ann", "problem", {f"{number}": number}, Scope.preferences)
            with client_of_a_new_process(ann).batch("ann") as batch:
                batch.set(blocks[1], {f"batch {number}": number})
                batch.set(None, {f"{number}": number}, Scope.user_info)
                batch.set(blocks[1], {f"{number}": number}, Scope.user_state_summary)
    numbers = {f"{number}": number for number in range(1, 6)}
    client = DjangoXBlockUserStateClient(ann)
    states = [found.state for found in client.get_many("ann", blocks)]
    assert states == [numbers, {**numbers, **{f"batch {number}": number for number in numbers.values()}}]
    assert client.get_scores("ann", blocks)[blocks[0]].grade == 5
    others = {Scope.preferences: "problem", Scope.user_info: None, Scope.user_state_summary: blocks[1]}
    for scope, key in others.items():
        assert client.get("ann", key, scope).state == numbers
    assert_history_is_gapless()


class Stale(NamedTuple):
    """A call on a row that the replica has in another state than the primary, and the state that it must lead to."""

    replica: dict[str, Any] | None
    primary: dict[str, Any] | None
    call: Callable[[Client, UsageKey], object]
    expected: dict[str, Any] | None
    is_new_life: bool = False
    """The row was deleted for good meanwhile. The state on the primary, if any, is of another row."""


def _batch(client: Client, block: UsageKey) -> None:
    with client.batch("ann") as batch:
        batch.set(block, {"a": 1})
        batch.set_score(block, 1, 2)


def _be_refused(client: Client, block: UsageKey) -> None:
    """Name the revision that the replica has, for an edit that changes its row and for one that does not."""
    for value in (1, 3):
        with pytest.raises(Conflict) as caught:
            client.set("ann", block, {"a": value}, if_revision=1)
        assert [(row.expected, row.actual) for row in caught.value.rows] == [(1, 2)]


STALE = [
    Stale({"a": 1}, {"a": 2}, lambda client, block: client.set("ann", block, {"a": 1}), {"a": 1}),
    # One of the two rows changes in any case.
    Stale(
        {"a": 1}, {"a": 2}, lambda client, block: client.set_many("ann", {block: {"a": 1}, OTHER: {"b": 1}}), {"a": 1}
    ),
    Stale({"a": 1}, {"a": 1, "b": 2}, lambda client, block: client.delete("ann", block, fields=["b"]), {"a": 1}),
    Stale(None, {"a": 1}, lambda client, block: client.delete_many("ann", [block]), None),
    Stale({"a": 1}, {"b": 2}, lambda client, block: client.replace("ann", block, {"a": 1}), {"a": 1}),
    Stale({"a": 1}, {"a": 2}, lambda client, block: client.set_score("ann", block, 1, 2), {"a": 2}),
    Stale({"a": 1}, {"a": 2}, _batch, {"a": 1}),
    Stale({"a": 1}, {"a": 2}, lambda client, block: client.set("ann", block, {"a": 1}, if_revision=2), {"a": 1}),
    Stale({"a": 1}, {"a": 2}, _be_refused, {"a": 2}),
    Stale({"a": 1}, None, lambda client, block: client.set("ann", block, {"a": 1}), {"a": 1}, is_new_life=True),
    # A row of the same revision.
    Stale(
        {"a": 1}, {"b": 2}, lambda client, block: client.set("ann", block, {"c": 3}), {"b": 2, "c": 3}, is_new_life=True
    ),
]
SCORED = {5: 1, 6: 1}
"""The points after the calls that set a score."""


def _replace(user: User, block: UsageKey, state: dict[str, Any] | None, points: int) -> None:
    if state is not None:
        with DjangoXBlockUserStateClient(user).batch("ann") as batch:
            batch.replace(block, state)
            batch.set_score(block, points, 2)


@pytest.mark.parametrize("mode", ["by a new client", "by the client that has read", "in a transaction"])
def test_a_call_that_fits_the_replica_changes_the_primary(ann: User, replica: Replica, mode: str) -> None:
    blocks = make_blocks(len(STALE))
    for block, case in zip(blocks, STALE, strict=True):
        _replace(ann, block, case.replica, 1)
    replica.catch_up()
    for block, case in zip(blocks, STALE, strict=True):
        if case.is_new_life:
            StudentModule.objects.filter(block_id=identify_block(block).id).delete()
        _replace(ann, block, case.primary, 2)
    with splitting():
        for block, case in zip(blocks, STALE, strict=True):
            client = client_of_a_new_process(ann)
            if mode == "by the client that has read":
                assert [found.state for found in client.get_many("ann", [block])] == [case.replica] * bool(case.replica)
            with transaction.atomic() if mode == "in a transaction" else nullcontext():
                case.call(client, block)
    client = DjangoXBlockUserStateClient(ann)
    states = {found.block_key: found.state for found in client.get_many("ann", blocks)}
    assert [states.get(block) for block in blocks] == [case.expected for case in STALE]
    scores = client.get_scores("ann", blocks)
    assert {number: scores[blocks[number]].grade for number in SCORED} == SCORED
    assert_history_is_gapless()


def test_a_guarded_unit_that_has_read_the_replica_is_repeated(ann: User) -> None:
    ids, [quiz] = make_page("quiz")

    def submit() -> None:
        hot_rows._until.clear()
        store = UserStateKeyValueStore(DjangoXBlockUserStateClient(ann), ann)
        with store.unit_of_work(guarded=True):
            PageRuntime(store, ann, ids).submit(quiz, "red")

    with splitting():
        for _ in range(4):
            run_guarded(submit)
    state = DjangoXBlockUserStateClient(ann).get("ann", quiz).state
    assert state is not None
    assert state["attempts"] == 4
    assert_history_is_gapless()

"""Conditional writes against other writers (law 11): races, stale row caches, transactions, deletion for good."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Thread
from typing import Any

import pytest
from django.db import connection, connections, transaction
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.interference import just_before, on_another_connection
from tests.integration.rows import assert_history_is_gapless
from tests.integration.statements import captured, verbs
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import BlockKey, Conflict, ConflictingRow, XBlockUserStateClient
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.models import Preferences, StudentModule, UserInfo, UserStateSummary
from xblock_user_state.store import hot_rows

pytestmark = pytest.mark.django_db(transaction=True)
BLOCK = make_block()
PLACES = pytest.mark.parametrize(
    ("scope", "key", "model"),
    [
        (Scope.user_state, BLOCK, StudentModule),
        (Scope.preferences, "problem", Preferences),
        (Scope.user_info, None, UserInfo),
        (Scope.user_state_summary, BLOCK, UserStateSummary),
    ],
    ids=["state", "preferences", "user_info", "summary"],
)
several_writers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite lets one writer begin at a time: there is no race to lose"
)


@pytest.fixture(autouse=True)
def learners() -> list[Any]:
    hot_rows._until.clear()
    return make_learners("ann", "bob")


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    return DjangoXBlockUserStateClient()


@pytest.fixture(params=["own", "caller's"])
def around(request: pytest.FixtureRequest) -> AbstractContextManager[Any]:
    """The transaction around a call: none, so that the call makes its own, or a caller's."""
    return nullcontext() if request.param == "own" else transaction.atomic()


def _other() -> DjangoXBlockUserStateClient:
    return DjangoXBlockUserStateClient()


def _answer(value: int, key: BlockKey = BLOCK, scope: Scope = Scope.user_state) -> Callable[[], None]:
    """Return the write of another process."""
    return lambda: on_another_connection(lambda: _other().set("ann", key, {"b": value}, scope))


@several_writers
@PLACES
@pytest.mark.parametrize("reader", ["same client", "another client"])
def test_another_writer_between_lookup_and_write(
    client: DjangoXBlockUserStateClient, scope: Scope, key: BlockKey, model: Any, reader: str
) -> None:
    _other().set("ann", key, {"a": 1}, scope)
    revision = (client if reader == "same client" else _other()).get("ann", key, scope).revision
    with just_before("UPDATE", model, _answer(2, key, scope)), pytest.raises(Conflict) as raised:
        client.set("ann", key, {"a": "mine"}, scope, if_revision=revision)
    assert [*raised.value.rows] == [ConflictingRow(scope, key, 1, 2)]
    found = _other().get("ann", key, scope)
    assert (found.state, found.revision) == ({"a": 1, "b": 2}, 2)
    assert_history_is_gapless()


@several_writers
@PLACES
def test_another_writer_creates_the_row_first(
    client: DjangoXBlockUserStateClient,
    around: AbstractContextManager[Any],
    scope: Scope,
    key: BlockKey,
    model: Any,
) -> None:
    _other().set("bob", BLOCK, {"registers": "the block"})

    def write() -> None:
        with around:
            client.set("ann", key, {"a": "mine"}, scope, if_revision=0)

    with just_before("INSERT", model, _answer(2, key, scope)), pytest.raises(Conflict) as raised:
        write()
    assert [*raised.value.rows] == [ConflictingRow(scope, key, 0, 1)]
    assert _other().get("ann", key, scope).state == {"b": 2}
    assert_history_is_gapless()


@several_writers
def test_a_row_that_is_deleted_for_good_between_lookup_and_write(client: DjangoXBlockUserStateClient) -> None:
    _other().set("ann", BLOCK, {"a": 1})

    def delete() -> None:
        on_another_connection(lambda: StudentModule.objects.all().delete())

    with just_before("UPDATE", StudentModule, delete), pytest.raises(Conflict) as raised:
        client.set("ann", BLOCK, {"a": "mine"}, if_revision=1)
    assert [*raised.value.rows] == [ConflictingRow(Scope.user_state, BLOCK, 1, 0)]
    assert not StudentModule.objects.exists()
    assert_history_is_gapless()


@several_writers
def test_one_conflict_of_many_rows_writes_none_of_them(client: DjangoXBlockUserStateClient) -> None:
    keys = make_blocks(20)
    client.set_many("ann", {key: {"a": 1} for key in keys})
    client.set("ann", "problem", {"a": 1}, Scope.preferences)
    revisions = {(Scope.user_state, key): 1 for key in keys}

    def write() -> None:
        with client.batch("ann", if_revisions=revisions) as batch:
            for key in keys:
                batch.set(key, {"a": "mine"})
            batch.set("problem", {"a": "mine"}, Scope.preferences)

    with just_before("UPDATE", StudentModule, _answer(2, keys[7])), pytest.raises(Conflict) as raised:
        write()
    assert [*raised.value.rows] == [ConflictingRow(Scope.user_state, keys[7], 1, 2)]
    states = [found.state for found in _other().get_many("ann", keys)]
    assert states == [{"a": 1, "b": 2} if key == keys[7] else {"a": 1} for key in keys]
    assert _other().get("ann", "problem", Scope.preferences).state == {"a": 1}
    assert_history_is_gapless()


@several_writers
def test_a_row_that_stays_as_it_is_keeps_its_revision_until_the_others_are_written(
    client: DjangoXBlockUserStateClient,
) -> None:
    one, two = make_blocks(2)
    client.set_many("ann", {one: {"a": 1}, two: {"a": 1}})
    with just_before("UPDATE", StudentModule, lambda: None) as seen:
        client.set_many("ann", {one: {"a": 1}, two: {"a": 2}}, if_revisions={one: 1, two: 1})
    reads = [sql for sql in seen if sql.startswith(("SELECT", "WITH locked"))]
    # By the client that has written the rows: the first one verifies its row cache, and the second is in a transaction.
    assert ["FOR UPDATE" in sql for sql in reads] == [True, True]
    assert [found.revision for found in _other().get_many("ann", [one, two])] == [1, 2]


@several_writers
def test_another_writer_of_a_row_that_stays_as_it_is(client: DjangoXBlockUserStateClient) -> None:
    one, two = make_blocks(2)
    client.set_many("ann", {one: {"a": 1}, two: {"a": 1}})
    interfere = iter([_answer(2, one)])

    def before_the_lock(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if "FOR UPDATE" in sql:
            next(interfere)()
        return execute(sql, *rest)

    with connection.execute_wrapper(before_the_lock), pytest.raises(Conflict) as raised:
        client.set_many("ann", {one: {"a": 1}, two: {"a": 2}}, if_revisions={one: 1, two: 1})
    assert [*raised.value.rows] == [ConflictingRow(Scope.user_state, one, 1, 2)]
    assert [found.state for found in _other().get_many("ann", [one, two])] == [{"a": 1, "b": 2}, {"a": 1}]
    assert_history_is_gapless()


def test_a_stale_row_cache_decides_no_conflict(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    _other().set("ann", BLOCK, {"b": 2})
    # The cache has revision 1, and the caller has read revision 2 elsewhere.
    client.set("ann", BLOCK, {"a": 2}, if_revision=2)
    assert _other().get("ann", BLOCK).state == {"a": 2, "b": 2}
    assert_history_is_gapless()


@pytest.mark.parametrize("fields", [{"a": 2}, {"a": 1}, {}], ids=["change", "no change", "nothing"])
def test_a_stale_row_cache_hides_no_conflict(client: DjangoXBlockUserStateClient, fields: dict[str, Any]) -> None:
    client.set("ann", BLOCK, {"a": 1})
    _other().set("ann", BLOCK, {"b": 2})
    with pytest.raises(Conflict) as raised:
        client.set("ann", BLOCK, fields, if_revision=1)
    assert [*raised.value.rows] == [ConflictingRow(Scope.user_state, BLOCK, 1, 2)]
    assert _other().get("ann", BLOCK).state == {"a": 1, "b": 2}
    client.set("ann", BLOCK, fields, if_revision=2)
    assert_history_is_gapless()


def test_a_row_that_was_deleted_for_good_is_a_conflict(
    client: DjangoXBlockUserStateClient, around: AbstractContextManager[Any]
) -> None:
    client.set("ann", BLOCK, {"a": 1})
    StudentModule.objects.all().delete()
    with around, pytest.raises(Conflict) as raised:
        client.set("ann", BLOCK, {"a": 2}, if_revision=1)
    assert [*raised.value.rows] == [ConflictingRow(Scope.user_state, BLOCK, 1, 0)]
    client.set("ann", BLOCK, {"a": 3}, if_revision=0)
    assert _other().get("ann", BLOCK).state == {"a": 3}
    assert_history_is_gapless()


def test_a_row_that_was_created_again_is_a_conflict_for_the_client_that_read_the_old_one(
    client: DjangoXBlockUserStateClient, around: AbstractContextManager[Any]
) -> None:
    client.set("ann", BLOCK, {"a": 1})
    StudentModule.objects.all().delete()
    _other().set("ann", BLOCK, {"b": 2})
    with around, pytest.raises(Conflict, match="deleted for good and created again") as raised:
        client.set("ann", BLOCK, {"a": 2}, if_revision=1)
    assert [*raised.value.rows] == [ConflictingRow(Scope.user_state, BLOCK, 1, 1)]
    assert _other().get("ann", BLOCK).state == {"b": 2}
    # The stale row is forgotten, also if the caller reads the new one elsewhere.
    client.set("ann", BLOCK, {"a": 3}, if_revision=1)
    assert _other().get("ann", BLOCK).state == {"b": 2, "a": 3}
    assert_history_is_gapless()


def test_a_conflict_in_a_callers_transaction_leaves_it_usable(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    with transaction.atomic():
        client.set("ann", BLOCK, {"a": 2}, if_revision=1)
        with pytest.raises(Conflict):
            client.set("ann", BLOCK, {"a": "mine"}, if_revision=1)
        client.set("ann", BLOCK, {"a": 3}, if_revision=2)
    assert _other().get("ann", BLOCK).state == {"a": 3}
    assert_history_is_gapless()


def test_a_rolled_back_write_is_no_revision(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    with transaction.atomic():
        client.set("ann", BLOCK, {"a": 2}, if_revision=1)
        transaction.set_rollback(True)
    client.set("ann", BLOCK, {"a": 3}, if_revision=1)
    assert _other().get("ann", BLOCK).revision == 2
    assert_history_is_gapless()


@several_writers
def test_a_commit_after_the_read_of_a_callers_transaction_is_a_conflict(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    with transaction.atomic():
        revision = client.get("ann", BLOCK).revision
        _answer(2)()
        with pytest.raises(Conflict) as raised:
            client.set("ann", BLOCK, {"a": 2}, if_revision=revision)
    assert [*raised.value.rows] == [ConflictingRow(Scope.user_state, BLOCK, 1, 2)]
    assert _other().get("ann", BLOCK).state == {"a": 1, "b": 2}
    assert_history_is_gapless()


def test_a_conflict_registers_no_block(client: DjangoXBlockUserStateClient) -> None:
    with captured() as statements, pytest.raises(Conflict):
        client.set("ann", BLOCK, {"a": 1}, if_revision=1)
    assert not {"INSERT", "WITH", "START"} & {*verbs(statements)}


def _count(client: XBlockUserStateClient, key: UsageKey, scope: Scope, times: int) -> int:
    """Add one to the count this many times, and return the number of conflicts."""
    conflicts = 0
    for _ in range(times):
        while True:
            try:
                found = client.get("ann", key, scope)
                count, revision = (found.state or {})["count"], found.revision
            except client.DoesNotExist as absent:
                count, revision = 0, absent.revision
            try:
                client.set("ann", key, {"count": count + 1}, scope, if_revision=revision)
                break
            except Conflict:
                conflicts += 1
    return conflicts


@pytest.mark.parametrize("scope", [Scope.user_state, Scope.user_state_summary], ids=lambda scope: scope.name)
@pytest.mark.parametrize("kind", ["database", "memory"])
def test_counting_by_several_writers_loses_nothing(kind: str, scope: Scope) -> None:
    """Read, add one, write with the revision, and again after a conflict, by four writers at once."""
    writers, times = 4, 15
    shared = InMemoryXBlockUserStateClient()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            _count(shared if kind == "memory" else _other(), BLOCK, scope, times)
        except BaseException as error:  # noqa: BLE001 (looked at below)
            errors.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=work) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    found = (shared if kind == "memory" else _other()).get("ann", BLOCK, scope)
    assert (found.state, found.revision) == ({"count": writers * times}, writers * times)
    assert_history_is_gapless()

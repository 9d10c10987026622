"""Another writer comes first between read and write: no change is lost, in our transactions and in a caller's.

In a caller's transaction, reading locks the rows that exist, so only new rows can race there.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from django.db import connection, connections, transaction
from opaque_keys.edx.locator import CourseLocator
from xblock.fields import Scope

from tests.acceptance.workers import set_isolation
from tests.factories import make_block, make_blocks, make_learners
from tests.integration.interference import just_before, on_another_connection
from tests.integration.rows import assert_history_is_gapless
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import BlockKey, ServiceUnavailable
from xblock_user_state.models import (
    Block,
    LearningContext,
    Preferences,
    StudentModule,
    UserInfo,
    UserStateSummary,
)
from xblock_user_state.store import hot_rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("prepared_or_not")]
BLOCK = make_block()
several_writers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite lets one writer begin at a time: there is no race to lose"
)


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann", "bob")
    return DjangoXBlockUserStateClient()


@pytest.fixture(params=["own", "caller's"])
def own_or_callers_transaction(request: pytest.FixtureRequest) -> AbstractContextManager[Any]:
    """A context manager around the call: without effect, or a caller's transaction."""
    return nullcontext() if request.param == "own" else transaction.atomic()


def _other() -> DjangoXBlockUserStateClient:
    return DjangoXBlockUserStateClient()


@several_writers
def test_another_field_survives(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1, "b": 1})

    def interfere() -> None:
        on_another_connection(lambda: _other().set("ann", BLOCK, {"b": 2, "c": 2}))

    with just_before("UPDATE", StudentModule, interfere) as seen:
        _other().set("ann", BLOCK, {"a": 3})
    assert client.get("ann", BLOCK).state == {"a": 3, "b": 2, "c": 2}
    assert StudentModule.objects.get().revision == 3
    assert_history_is_gapless()
    first, again = [sql for sql in seen if "SELECT asked.id" in sql]
    assert "FOR UPDATE" not in first
    assert "FOR UPDATE" in again


@several_writers
def test_a_row_that_appears_meanwhile(
    client: DjangoXBlockUserStateClient, own_or_callers_transaction: AbstractContextManager[Any]
) -> None:
    client.set("bob", BLOCK, {"known": 1})

    def interfere() -> None:
        on_another_connection(lambda: _other().set("ann", BLOCK, {"b": 2}))

    with own_or_callers_transaction, just_before("INSERT", StudentModule, interfere):
        client.set("ann", BLOCK, {"a": 1})
    assert client.get("ann", BLOCK).state == {"b": 2, "a": 1}
    assert_history_is_gapless()


@several_writers
def test_a_row_that_disappears_meanwhile(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"old": 1})
    client.set("ann", BLOCK, {"old": 2})

    def interfere() -> None:
        on_another_connection(lambda: StudentModule.objects.all().delete())

    with just_before("UPDATE", StudentModule, interfere):
        client.set("ann", BLOCK, {"new": 1})
    assert client.get("ann", BLOCK).state == {"new": 1}
    assert StudentModule.objects.get().revision == 1
    assert_history_is_gapless()


@several_writers
def test_a_score_does_not_revert_state_nor_state_a_score(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 10)

    def score() -> None:
        on_another_connection(lambda: _other().set_score("ann", BLOCK, 7, 10))

    def answer() -> None:
        on_another_connection(lambda: _other().set("ann", BLOCK, {"a": 7}))

    with just_before("UPDATE", StudentModule, score):
        client.set("ann", BLOCK, {"b": 2})
    assert client.get_scores("ann", [BLOCK])[BLOCK].grade == 7
    with just_before("UPDATE", StudentModule, answer):
        client.set_score("ann", BLOCK, 9, 10)
    assert client.get("ann", BLOCK).state == {"a": 7, "b": 2}
    assert client.get_scores("ann", [BLOCK])[BLOCK].grade == 9
    assert_history_is_gapless()


@several_writers
def test_a_race_for_one_block_changes_the_others_of_the_call_once(client: DjangoXBlockUserStateClient) -> None:
    keys = make_blocks(20)
    client.set_many("ann", {key: {"a": 1} for key in keys[:10]})

    def interfere() -> None:
        on_another_connection(lambda: _other().set_many("ann", {keys[3]: {"b": 2}, keys[15]: {"b": 2}}))

    with just_before("UPDATE", StudentModule, interfere):
        client.set_many("ann", {key: {"c": 3} for key in keys[1:10]})
    with just_before(
        "INSERT", StudentModule, lambda: on_another_connection(lambda: _other().set("ann", keys[18], {"b": 2}))
    ):
        client.set_many("ann", {key: {"c": 3} for key in keys[10:]})
    states = {key: (client.get("ann", key).state or {}) for key in keys}
    assert [key for key in keys if "c" not in states[key]] == [keys[0]]
    assert [key for key in keys if "b" in states[key]] == [keys[3], keys[15], keys[18]]
    assert sum(StudentModule.objects.values_list("revision", flat=True)) == 10 + 9 + 10 + 3
    assert_history_is_gapless()


@several_writers
def test_a_change_that_the_other_made_already_is_none(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})

    def interfere() -> None:
        on_another_connection(lambda: _other().set("ann", BLOCK, {"a": 2}))

    with just_before("UPDATE", StudentModule, interfere):
        client.set("ann", BLOCK, {"a": 2})
    assert StudentModule.objects.get().revision == 2
    assert_history_is_gapless()


@several_writers
@pytest.mark.parametrize(
    ("scope", "key", "model"),
    [
        (Scope.preferences, "problem", Preferences),
        (Scope.user_info, None, UserInfo),
        (Scope.user_state_summary, BLOCK, UserStateSummary),
    ],
    ids=["preferences", "user_info", "summary"],
)
def test_the_other_scopes_lose_nothing(
    client: DjangoXBlockUserStateClient,
    own_or_callers_transaction: AbstractContextManager[Any],
    scope: Scope,
    key: BlockKey,
    model: Any,
) -> None:
    client.set("bob", BLOCK, {"known": 1})
    number = iter(range(10))

    def interfere() -> None:
        on_another_connection(
            lambda: _other().set(
                "bob" if scope == Scope.user_state_summary else "ann", key, {f"b{next(number)}": 1}, scope
            )
        )

    with own_or_callers_transaction, just_before("INSERT", model, interfere):
        client.set("ann", key, {"a": 1}, scope)
    hot_rows._until.clear()
    with just_before("UPDATE", model, interfere):
        client.set("ann", key, {"a": 2}, scope)
    assert client.get("ann", key, scope).state == {"b0": 1, "a": 2, "b1": 1}


@pytest.fixture(params=["same block", "same course"])
def others_block(request: pytest.FixtureRequest) -> BlockKey:
    """The block that another writer registers while ours is being registered."""
    return BLOCK if request.param == "same block" else make_block("other")


MOMENTS: list[tuple[str, Any]] = [("SELECT", Block), ("INSERT", LearningContext), ("INSERT", Block)]
if connection.vendor == "mysql":
    MOMENTS += [("SELECT", LearningContext)]


@several_writers
@pytest.mark.parametrize(("verb", "model"), MOMENTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_block_that_another_registers_meanwhile(
    client: DjangoXBlockUserStateClient, others_block: BlockKey, verb: str, model: Any
) -> None:
    def interfere() -> None:
        on_another_connection(lambda: _other().set("bob", others_block, {"b": 2}))

    if (verb, model) == ("INSERT", Block):  # The course must exist: we would hold a new one.
        client.set("bob", make_block("before"), {"a": 1})
    with just_before(verb, model, interfere):
        client.set("ann", BLOCK, {"a": 1})
    assert client.get("ann", BLOCK).state == {"a": 1}
    assert client.get("bob", others_block).state == {"b": 2}
    assert Block.objects.exclude(usage_key=str(make_block("before"))).count() == len({BLOCK, others_block})
    assert LearningContext.objects.count() == 1
    assert_history_is_gapless()


@several_writers
def test_a_block_that_another_registers_while_a_caller_holds_a_transaction(client: DjangoXBlockUserStateClient) -> None:
    client.set("bob", make_block("before"), {"a": 1})

    def interfere() -> None:
        on_another_connection(lambda: _other().set("bob", BLOCK, {"b": 2}))

    with transaction.atomic(), just_before("INSERT", Block, interfere):
        client.set("ann", BLOCK, {"a": 1})
        client.set("ann", make_block("after"), {"a": 1})
    assert [client.get(name, BLOCK).state for name in ("ann", "bob")] == [{"a": 1}, {"b": 2}]
    assert_history_is_gapless()


@several_writers
def test_a_block_that_another_commits_while_a_session_of_another_isolation_waits(
    client: DjangoXBlockUserStateClient,
) -> None:
    """At REPEATABLE READ the wait ends with a serialization failure, and the second attempt has nothing to register."""
    client.set("bob", make_block("before"), {"a": 1})
    held = Event()

    def hold() -> None:
        with transaction.atomic():
            _other().set("bob", BLOCK, {"b": 2})
            held.set()
            time.sleep(0.5)
        connection.close()

    other = Thread(target=hold)
    set_isolation("REPEATABLE READ")
    other.start()
    assert held.wait(10)
    client.set("ann", BLOCK, {"a": 1})
    other.join()
    connection.close()
    assert [client.get(name, BLOCK).state for name in ("ann", "bob")] == [{"a": 1}, {"b": 2}]
    assert_history_is_gapless()


@several_writers
def test_nobody_waits_for_a_course_that_a_callers_transaction_registers(client: DjangoXBlockUserStateClient) -> None:
    # Keys that no other test uses: on MariaDB a row deleted a moment ago locks its neighbours too.
    held, free = CourseLocator("Held", "H1", "2026"), CourseLocator("Free", "F1", "2026")
    with transaction.atomic():
        client.set("ann", make_block(course=held), {"a": 1})
        on_another_connection(lambda: _other().set("bob", make_block(course=free), {"b": 2}))
    assert client.get("bob", make_block(course=free)).state == {"b": 2}


@several_writers
def test_a_deadlock_in_callers_transactions_is_an_error_for_one_of_them(client: DjangoXBlockUserStateClient) -> None:
    one, two = make_blocks(2)
    client.set_many("ann", {one: {"a": 0}, two: {"a": 0}})
    both_hold_one = Barrier(2)
    outcomes: list[tuple[str, BaseException | None]] = []

    def work(name: str, first: BlockKey, second: BlockKey) -> None:
        try:
            with transaction.atomic():
                _other().set("ann", first, {name: 1})
                both_hold_one.wait(20)
                _other().set("ann", second, {name: 1})
            outcomes.append((name, None))
        except ServiceUnavailable as error:
            outcomes.append((name, error))
        finally:
            connections.close_all()

    threads = [Thread(target=work, args=args) for args in (("x", one, two), ("y", two, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 2
    won = [name for name, error in outcomes if error is None]
    [failed] = [error for _, error in outcomes if error is not None]
    assert failed.__cause__ is not None
    assert [found.state for found in client.get_many("ann", [one, two])] == [{"a": 0, won[0]: 1}] * 2
    assert_history_is_gapless()


@several_writers
def test_writers_in_opposite_orders_both_succeed_in_transactions_of_their_own(
    client: DjangoXBlockUserStateClient,
) -> None:
    keys = make_blocks(40)
    client.set_many("ann", {key: {"a": 0} for key in keys})
    errors: list[BaseException] = []

    def work(name: str, order: list[Any]) -> None:
        try:
            for number in range(5):
                _other().set_many("ann", {key: {name: number} for key in order})
        except BaseException as error:  # noqa: BLE001 (asserted below)
            errors.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=work, args=args) for args in (("x", keys), ("y", keys[::-1]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert [found.state for found in client.get_many("ann", keys)] == [{"a": 0, "x": 4, "y": 4}] * 40
    assert {row.revision for row in StudentModule.objects.all()} == {11}
    assert_history_is_gapless()


@several_writers
def test_a_block_that_appears_meanwhile_is_not_new(
    client: DjangoXBlockUserStateClient, own_or_callers_transaction: AbstractContextManager[Any]
) -> None:
    other = make_block("other")
    client.set("bob", BLOCK, {"registers": "the block"})

    def interfere() -> None:
        on_another_connection(lambda: _other().set("ann", BLOCK, {"a": "the account's"}))

    with (
        own_or_callers_transaction,
        just_before("INSERT", StudentModule, interfere),
        _other().batch("ann", only_new=True) as batch,
    ):
        batch.set(BLOCK, {"b": "the visitor's"})
        batch.set_score(BLOCK, 1, 1)
        batch.set(other, {"b": "the visitor's"})
    found = {found.block_key: found.state for found in _other().get_many("ann", [BLOCK, other])}
    assert found == {BLOCK: {"a": "the account's"}, other: {"b": "the visitor's"}}
    assert _other().get_scores("ann", [BLOCK]) == {}
    assert_history_is_gapless()

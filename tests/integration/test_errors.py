"""Database errors that become the contract's, and errors that stay as they are."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import Error, OperationalError, ProgrammingError, connection, transaction
from django.db.models import Model
from xblock.fields import Scope

from tests import citus
from tests.factories import COURSE, make_block, make_learners
from tests.integration.interference import (
    is_statement,
    just_before,
    kill_connection,
    needs_a_server,
    second_connection,
    unreachable,
    without_table,
)
from tests.integration.rows import assert_history_is_gapless, everything
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import ServiceUnavailable, XBlockUserStateClient
from xblock_user_state.models import Block, StudentModule, StudentModuleHistory
from xblock_user_state.state.keys import identify_block
from xblock_user_state.store import transactions

pytestmark = pytest.mark.django_db(transaction=True)
BLOCK = make_block()
Call = Callable[[XBlockUserStateClient], Any]


def _batch(client: XBlockUserStateClient) -> None:
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"a": 3})


READS: dict[str, Call] = {
    "get": lambda client: client.get("ann", BLOCK),
    "get_many": lambda client: list(client.get_many("ann", [BLOCK])),
    "get_history": lambda client: list(client.get_history("ann", BLOCK)),
    "get_scores": lambda client: client.get_scores("ann", [BLOCK]),
    "iter_all_for_block": lambda client: list(client.iter_all_for_block(BLOCK)),
    "iter_all_for_course": lambda client: list(client.iter_all_for_course(COURSE)),
}
WRITES: dict[str, Call] = {
    "set": lambda client: client.set("ann", BLOCK, {"a": 3}),
    "set never seen": lambda client: client.set("ann", make_block("never-seen"), {"a": 3}),
    "set summary": lambda client: client.set(None, BLOCK, {"a": 3}, Scope.user_state_summary),
    "delete": lambda client: client.delete("ann", BLOCK),
    "set_score": lambda client: client.set_score("ann", BLOCK, 3, 3),
    "batch": _batch,
}
EACH = pytest.mark.parametrize("call", [*READS.values(), *WRITES.values()], ids=[*READS, *WRITES])
EACH_WRITE = pytest.mark.parametrize("call", WRITES.values(), ids=WRITES.keys())


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann", "bob")
    made = DjangoXBlockUserStateClient()
    made.set("ann", BLOCK, {"a": 1})
    made.set_score("ann", BLOCK, 1, 3)
    return made


def _assert_unavailable(call: Call, client: XBlockUserStateClient) -> None:
    with pytest.raises(ServiceUnavailable) as raised:
        call(client)
    assert isinstance(raised.value.__cause__, Exception)
    assert str(raised.value)


@EACH
def test_a_database_that_cannot_be_reached_is_unavailable(client: DjangoXBlockUserStateClient, call: Call) -> None:
    with unreachable():
        _assert_unavailable(call, client)
        _assert_unavailable(call, DjangoXBlockUserStateClient())
    call(client)


@needs_a_server
@EACH
def test_after_a_killed_connection_the_next_call_works(client: DjangoXBlockUserStateClient, call: Call) -> None:
    before = everything()
    kill_connection()
    _assert_unavailable(call, client)
    assert everything() == before
    call(client)
    call(DjangoXBlockUserStateClient())


@needs_a_server
@pytest.mark.parametrize(
    ("verb", "model"),
    [("SELECT", StudentModule), ("UPDATE", StudentModule), ("INSERT", StudentModuleHistory)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_connection_killed_in_the_middle_of_a_write_leaves_nothing(
    client: DjangoXBlockUserStateClient, verb: str, model: type[Model]
) -> None:
    before = everything()
    with just_before(verb, model, kill_connection):
        # A new client has an empty row cache, so it reads the row first.
        _assert_unavailable(WRITES["set"], DjangoXBlockUserStateClient())
    assert everything() == before
    client.set("ann", BLOCK, {"a": 4})
    assert client.get("ann", BLOCK).state == {"a": 4}
    assert_history_is_gapless()


@needs_a_server
def test_a_connection_killed_inside_a_callers_transaction(client: DjangoXBlockUserStateClient) -> None:
    before = everything()
    with suppress(Error), transaction.atomic():
        client.set("ann", BLOCK, {"a": 4})
        kill_connection()
        _assert_unavailable(WRITES["set"], client)
    assert everything() == before
    client.set("ann", BLOCK, {"a": 6})
    assert client.get("ann", BLOCK).state == {"a": 6}


def test_an_iteration_over_a_connection_that_broke_is_unavailable(client: DjangoXBlockUserStateClient) -> None:
    client.set("bob", BLOCK, {"a": 1})
    found = client.iter_all_for_block(BLOCK, batch_size=1)
    next(found)
    with unreachable(), pytest.raises(ServiceUnavailable):
        next(found)
    assert len(list(client.iter_all_for_block(BLOCK, batch_size=1))) == 2


@pytest.mark.parametrize("model", [StudentModule, StudentModuleHistory], ids=lambda model: model.__name__)
def test_a_missing_table_stays_a_programming_error(client: DjangoXBlockUserStateClient, model: type[Model]) -> None:
    with without_table(model):
        for call in (WRITES["set"], READS["get_history" if model is StudentModuleHistory else "get"]):
            with pytest.raises(OperationalError if connection.vendor == "sqlite" else ProgrammingError) as raised:
                call(client)
            assert type(raised.value).__module__ == "django.db.utils"


def test_a_missing_registry_stays_a_programming_error(client: DjangoXBlockUserStateClient) -> None:
    Block.objects.all()._raw_delete(connection.alias)
    with without_table(Block), pytest.raises(Error) as raised:
        # A new client has an empty row cache, so it asks the registry.
        DjangoXBlockUserStateClient().set("ann", BLOCK, {"a": 1})
    assert type(raised.value).__module__ == "django.db.utils"


@contextmanager
def row_locked_elsewhere() -> Iterator[Callable[[], None]]:
    """Lock ann's row on another connection, with a short lock timeout on ours. Yields a function that unlocks it."""
    wait = {
        "postgresql": ("SET lock_timeout = '50ms'", "RESET lock_timeout"),
        # The lock is on another server. Statements that get it need time for their way there, too.
        "citus": ("SET statement_timeout = '1s'", "RESET statement_timeout"),
        "mysql": ("SET innodb_lock_wait_timeout = 0", "SET innodb_lock_wait_timeout = 50"),
        "sqlite": ("PRAGMA busy_timeout = 20", "PRAGMA busy_timeout = 20000"),
    }[citus.DIALECT]
    with second_connection() as other:
        _execute(wait[0])
        with other.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE" if connection.vendor == "sqlite" else "START TRANSACTION")
            if connection.vendor != "sqlite":
                ann = User.objects.get(username="ann").pk
                rows = StudentModule.objects.filter(student_id=ann, block_id=identify_block(BLOCK).id).values(
                    "revision"
                )
                cursor.execute(f"{rows.query} FOR UPDATE")
            try:
                yield lambda: cursor.execute("COMMIT")
            finally:
                with suppress(Error):  # SQLite has nothing to roll back after the COMMIT.
                    cursor.execute("ROLLBACK")
                _execute(wait[1])


def _execute(sql: str) -> None:
    # The connection may have been closed since the last statement, and opened anew.
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize("call", [WRITES["set"], WRITES["delete"], WRITES["set_score"]], ids=["set", "delete", "score"])
def test_a_row_that_another_holds_for_too_long_is_unavailable(
    client: DjangoXBlockUserStateClient, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "MAX_SECONDS", 0.5)  # A longer wait would test nothing more.
    before = everything()
    with row_locked_elsewhere():
        _assert_unavailable(call, client)
        assert client.get("ann", BLOCK).state == {"a": 1}
    assert everything() == before
    call(client)
    assert_history_is_gapless()


@pytest.mark.skipif(citus.DIALECT == "citus", reason="a wait for a lock on another server has no limit of its own")
@pytest.mark.parametrize("call", [WRITES["set"], WRITES["delete"], WRITES["set_score"]], ids=["set", "delete", "score"])
def test_a_row_that_another_lets_go_is_written_at_a_later_attempt(
    client: DjangoXBlockUserStateClient, call: Call
) -> None:
    table = connection.ops.quote_name(StudentModule._meta.db_table)
    locking: list[str] = []

    def is_locking(sql: str) -> bool:
        return sql.startswith("BEGIN") or (table in sql and ("FOR UPDATE" in sql or is_statement(sql, "UPDATE", table)))

    with row_locked_elsewhere() as let_go:

        def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            if is_locking(sql):
                locking.append(sql)
                if len(locking) == 3:
                    let_go()
            return execute(sql, params, many, context)

        with connection.execute_wrapper(wrapper):
            call(client)
    assert len(locking) >= 3
    assert StudentModule.objects.get().revision == 3
    assert_history_is_gapless()


@needs_a_server
def test_a_lock_timeout_leaves_a_callers_transaction_usable(client: DjangoXBlockUserStateClient) -> None:
    other = make_block("other")
    client.set("ann", other, {"a": 1})
    with row_locked_elsewhere(), transaction.atomic():
        client.set("ann", other, {"b": 1})
        _assert_unavailable(WRITES["set"], client)
        client.set("ann", other, {"c": 1})
    assert [found.state for found in client.get_many("ann", [BLOCK, other])] == [{"a": 1}, {"a": 1, "b": 1, "c": 1}]
    assert_history_is_gapless()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a file that is no database is SQLite's trouble")
# Django leaves the connection that it failed to set up to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
def test_a_file_that_is_no_database_is_unavailable(client: DjangoXBlockUserStateClient, tmp_path: Any) -> None:
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"this is no database" * 1000)
    connection.close()
    name = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = str(broken)
    try:
        _assert_unavailable(READS["get"], client)
    finally:
        connection.close()
        connection.settings_dict["NAME"] = name
        gc.collect()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite can be told to refuse writes")
def test_a_read_only_database_is_unavailable_for_writes(client: DjangoXBlockUserStateClient) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")
    try:
        _assert_unavailable(WRITES["set"], client)
        assert client.get("ann", BLOCK).state == {"a": 1}
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = OFF")


@needs_a_server
def test_a_statement_that_takes_too_long_is_unavailable(client: DjangoXBlockUserStateClient) -> None:
    limit, reset = {
        "postgresql": ("SET statement_timeout = '1ms'", "RESET statement_timeout"),
        "mysql": ("SET max_statement_time = 0.0001", "SET max_statement_time = 0"),
    }[connection.vendor]
    large = "x" * 3_000_000
    with connection.cursor() as cursor:
        cursor.execute(limit)
    try:
        with pytest.raises(ServiceUnavailable):
            client.set("ann", BLOCK, {"large": large})
    finally:
        with connection.cursor() as cursor:
            cursor.execute(reset)

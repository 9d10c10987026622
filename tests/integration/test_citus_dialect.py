"""The dialect for Citus: chosen once for a database, or when Citus refuses a statement; and its classes of errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
from django.db import connection
from django.db.transaction import atomic
from django.db.utils import InternalError

from tests import citus
from tests.factories import make_block, make_blocks, make_learners
from tests.integration import shards
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.store import hot_rows
from xblock_user_state.store.dialects import dialect_of, distribution
from xblock_user_state.store.dialects.citus import Citus

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="Citus is an extension of PostgreSQL"),
]

BLOCK = make_block()
FOR_UPDATE = "could not run distributed query with FOR UPDATE/SHARE commands"


@contextmanager
def answering(state: str, message: str, when: str) -> Iterator[list[str]]:
    """Have the server answer the first statement that has the words `when` with an error; give that statement."""
    refused: list[str] = []

    def answer(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if when not in sql or refused:
            return execute(sql, params, many, context)
        refused.append(sql)
        error = f"DO $$ BEGIN RAISE EXCEPTION SQLSTATE '{state}' USING MESSAGE = '{message}'; END $$"
        return execute(error, None, many, context)

    with connection.execute_wrapper(answer):
        yield refused


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> DjangoXBlockUserStateClient:
    """A client of a process that has not asked yet."""
    make_learners("ann")
    monkeypatch.setattr(distribution, "_KNOWN", {})
    return DjangoXBlockUserStateClient()


def test_a_process_asks_once_and_apart_from_the_callers_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    ask = distribution._ask

    def count(one: Any) -> bool:
        asked.append(one)
        return ask(one)

    monkeypatch.setattr(distribution, "_ask", count)
    connection.close()
    assert type(dialect_of(connection)).__name__ == "PostgreSQL"
    connection.ensure_connection()
    with captured() as statements:
        for _ in range(2):
            assert isinstance(dialect_of(connection), Citus) is (citus.DIALECT == "citus")
    assert (asked, statements) == ([connection], [])


@pytest.mark.parametrize("around", [nullcontext, atomic], ids=["own", "callers"])
def test_a_process_that_has_asked_too_early_learns_it_from_a_refusal(
    around: Callable[[], AbstractContextManager[Any]],
    client: DjangoXBlockUserStateClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distribution._KNOWN[connection.alias] = False
    # Rows are locked at first.
    monkeypatch.setattr(hot_rows, "any_hot", lambda _: True)
    with answering("0A000", FOR_UPDATE, when="FOR UPDATE") as refused, around():
        client.set_many("ann", {block: {"a": 1} for block in make_blocks(2)})
    assert refused
    assert distribution.is_distributed(connection)
    assert [one.state for one in client.get_many("ann", make_blocks(2))] == [{"a": 1}] * 2


def test_an_error_without_a_class_is_a_failure_of_a_server_on_citus_only(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    for is_distributed, expected in ((True, ServiceUnavailable), (False, InternalError)):
        distribution._KNOWN[connection.alias] = is_distributed
        with answering("XX000", "failure on connection marked as essential", when="UPDATE"):  # noqa: SIM117
            with pytest.raises(expected):
                client.set("ann", BLOCK, {"a": 2})
    assert client.get("ann", BLOCK).state == {"a": 1}


@shards.on_shards
def test_a_duplicate_that_lost_its_sqlstate_is_repeated(client: DjangoXBlockUserStateClient) -> None:
    message = 'duplicate key value violates unique constraint "of_a_shard"'
    with answering("XX000", message, when='INSERT INTO "xblock_user_state_studentmodule"') as refused:
        client.set("ann", BLOCK, {"a": 1})
    assert refused
    assert client.get("ann", BLOCK).revision == 1

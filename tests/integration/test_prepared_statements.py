"""Statements of the client are prepared on PostgreSQL, and work wherever the server has lost them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import atomic
from django.test.utils import CaptureQueriesContext
from opaque_keys.edx.locator import CourseLocator

from tests import citus
from tests.factories import make_block, make_blocks, make_learners
from tests.integration.rows import assert_history_is_gapless
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.models import StudentModule
from xblock_user_state.store import hot_rows
from xblock_user_state.store.dialects import preparing

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="statements are prepared on PostgreSQL"),
    pytest.mark.skipif(citus.DIALECT == "citus", reason="the dialect for Citus prepares nothing"),
    pytest.mark.django_db(transaction=True),
]
BLOCK = make_block()
_TABLE = StudentModule._meta.db_table


@pytest.fixture(autouse=True)
def client() -> Iterator[DjangoXBlockUserStateClient]:
    make_learners("ann")
    connection.close()
    yield DjangoXBlockUserStateClient()
    connection.close()


def _choose(patch: pytest.MonkeyPatch, choice: str) -> None:
    patch.setitem(settings.XBLOCK_USER_STATE, "PREPARE_STATEMENTS", choice)


def _execute(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def _prepared() -> list[str]:
    """Return the statements that the server has prepared for this connection."""
    return [sql for (sql,) in _execute("SELECT statement FROM pg_prepared_statements")]


def _last(client: DjangoXBlockUserStateClient) -> None:
    """Use the connection long enough for its statements to be prepared."""
    for number in range(preparing.FIRST_STATEMENTS + 1):
        client.set("ann", BLOCK, {"n": number})
        assert client.get("ann", BLOCK).state == {"n": number}


def test_a_short_connection_prepares_nothing(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"n": 1})
    assert client.get("ann", BLOCK).state == {"n": 1}
    assert _prepared() == []


def test_a_lasting_connection_prepares_each_statement_once_for_any_number_of_blocks(
    client: DjangoXBlockUserStateClient,
) -> None:
    _last(client)
    client.set_many("ann", {key: {"n": 1} for key in make_blocks(2)})
    client.set_many("ann", {key: {"n": 2} for key in make_blocks(2)})
    list(client.get_many("ann", make_blocks(2)))
    before = _prepared()
    more = make_blocks(30, course=CourseLocator("Org", "other", "run"))
    client.set_many("ann", {key: {"n": 1} for key in more})
    client.set_many("ann", {key: {"n": 2} for key in more})
    list(client.get_many("ann", more))
    assert before
    assert sorted(_prepared()) == sorted(before)


def test_only_the_packages_statements_are_prepared(client: DjangoXBlockUserStateClient) -> None:
    _last(client)
    for _ in range(10):
        assert User.objects.get(username="ann").pk
    assert connection.connection.prepare_threshold is None
    assert all("xblock_user_state" in sql for sql in _prepared())


@pytest.mark.parametrize(("choice", "expected"), [("never", False), ("direct", True), ("always", True)])
def test_the_setting_decides(
    client: DjangoXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch, choice: str, expected: bool
) -> None:
    _choose(monkeypatch, choice)
    _last(client)
    assert bool(_prepared()) is expected


def test_wrappers_and_the_query_log_see_every_statement(client: DjangoXBlockUserStateClient) -> None:
    _last(client)
    seen = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with CaptureQueriesContext(connection) as log, connection.execute_wrapper(watch):
        client.set("ann", BLOCK, {"n": "new"})
    [in_log] = log.captured_queries
    assert [sql[:11] for sql in (*seen, in_log["sql"])] == ["WITH new AS"] * 2
    # With its values, which a prepared statement does not show.
    assert "%s" in seen[0]
    assert '"n":"new"' in in_log["sql"]
    with connection.execute_wrapper(watch):
        client.set("ann", BLOCK, {"n": "newer"})
    assert seen[1] == seen[0]


def test_a_tool_that_replaces_the_method_cursor_sees_every_statement(
    client: DjangoXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _last(client)
    opened = []

    def cursor() -> Any:
        opened.append(1)
        return BaseDatabaseWrapper.cursor(connections["default"])

    monkeypatch.setattr(connections["default"], "cursor", cursor)
    client.set("ann", BLOCK, {"n": "new"})
    assert opened


@pytest.mark.parametrize("loss", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_a_host_that_discards_them_is_not_disturbed(client: DjangoXBlockUserStateClient, loss: str) -> None:
    _last(client)
    _execute(loss)
    client.set("ann", BLOCK, {"n": "new"})
    _execute(loss)
    assert client.get("ann", BLOCK).state == {"n": "new"}
    # A connection that lost them once keeps none.
    assert _prepared() == []
    assert_history_is_gapless()


def test_a_column_of_another_type_is_no_error(client: DjangoXBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    _last(client)
    client.get_scores("ann", [BLOCK])
    # Another table in the place of this one, because views keep the types of its columns.
    _execute(f"ALTER TABLE {_TABLE} RENAME TO kept")
    try:
        _execute(f"CREATE TABLE {_TABLE} AS TABLE kept")
        _execute(f"ALTER TABLE {_TABLE} ALTER COLUMN grade TYPE real")
        assert client.get_scores("ann", [BLOCK])[BLOCK].grade == 1
        client.set("ann", BLOCK, {"n": "new"})
        assert client.get("ann", BLOCK).state == {"n": "new"}
        assert_history_is_gapless()
    finally:
        _execute(f"DROP TABLE IF EXISTS {_TABLE}")
        _execute(f"ALTER TABLE kept RENAME TO {_TABLE}")


def test_a_transaction_of_the_clients_own_is_repeated(
    client: DjangoXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_rows, "any_hot", lambda _: True)
    _last(client)
    _execute("DEALLOCATE ALL")
    client.set("ann", BLOCK, {"n": "new"})
    assert client.get("ann", BLOCK).state == {"n": "new"}
    assert_history_is_gapless()


def test_a_callers_transaction_gets_an_error_that_says_to_repeat_it(client: DjangoXBlockUserStateClient) -> None:
    _last(client)
    _execute("DEALLOCATE ALL")
    with pytest.raises(ServiceUnavailable), atomic():
        client.get("ann", BLOCK)
    with atomic():
        client.set("ann", BLOCK, {"n": "new"})
        assert client.get("ann", BLOCK).state == {"n": "new"}
    assert_history_is_gapless()


def test_a_new_connection_begins_anew(client: DjangoXBlockUserStateClient) -> None:
    _last(client)
    connection.close()
    client.set("ann", BLOCK, {"n": "new"})
    assert _prepared() == []
    _last(client)
    assert _prepared()


def test_a_state_with_the_marks_of_joined_texts_stays_as_it_is(client: DjangoXBlockUserStateClient) -> None:
    texts = {key: f'{{"n":"{mark}\x1e\x1f"}}' for key, mark in zip(make_blocks(3), "\x01\x02\x03", strict=True)}
    client.set_many("ann", {key: {"n": 1} for key in texts})
    for key, text in texts.items():
        StudentModule._base_manager.filter(block__usage_key=str(key)).update(state=text)
    with DjangoXBlockUserStateClient().batch("ann") as batch:
        for key in texts:
            batch.set_score(key, 1, 2)
    stored = StudentModule._base_manager.values_list("block__usage_key", "state", "grade")
    assert {key: (text, grade) for key, text, grade in stored} == {str(key): (text, 1) for key, text in texts.items()}

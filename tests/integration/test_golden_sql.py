"""Each database gets the statements that its golden file shows, for each operation of the client.

Those for Citus are sent to PostgreSQL with partitioned tables, and each would be sent whole to one server of a cluster.

To write the files anew after a change of SQL, run this test on each database with ``GOLDEN_SQL=write`` in the
environment. Notes stay with their statements. Then explain each new statement: `tests/unit/test_golden_sql.py` asks
for a note.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.transaction import atomic
from django.test.utils import CaptureQueriesContext
from xblock.fields import Scope

from tests import citus
from tests.factories import COURSE, make_blocks, make_learners
from tests.golden_sql import GoldenFile, plain
from tests.integration import shards
from tests.integration.shards import on_shards
from xblock_user_state import conf
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import UserId
from xblock_user_state.store import hot_rows
from xblock_user_state.store.dialects import distribution

pytestmark = pytest.mark.django_db(transaction=True)

ONE, TWO, THREE = BLOCKS = make_blocks(3)
_NUMBERS = count()
# Savepoint names, ids and checksums in a statement's text, and the quotes and prefix of names.
_SAVEPOINT, _ID, _NOISE = (
    re.compile(r"\bs\d+_x\d+\b"),
    re.compile(r"-?\b(?!1000000\b)\d{5,19}\b"),
    re.compile('[`"]|xblock_user_state_'),
)

Steps = Iterator[None]


def _client() -> DjangoXBlockUserStateClient:
    """Return a client that knows its user and has an empty row cache."""
    return DjangoXBlockUserStateClient(get_user_model().objects.get(username="ann"))


def _set(client: DjangoXBlockUserStateClient, *blocks: Any, scope: Scope = Scope.user_state) -> None:
    client.set_many("ann", {block: {"attempts": next(_NUMBERS)} for block in blocks}, scope)


# Each operation prepares its rows, yields, and then sends the statements that are compared.


def _get_one() -> Steps:
    yield
    list(DjangoXBlockUserStateClient().get_many("ann", [ONE]))


def _get_three() -> Steps:
    client = _client()
    yield
    list(client.get_many("ann", BLOCKS))


def _get_rows_of_scopes() -> Steps:
    client = _client()
    yield
    rows = [(Scope.user_state, block) for block in BLOCKS[:2]]
    shared = (Scope.user_state_summary, ONE)
    client.get_encoded_rows("ann", [*rows, (Scope.preferences, "problem"), (Scope.user_info, None), shared])


def _get_scores() -> Steps:
    client = _client()
    yield
    client.get_scores("ann", [ONE, TWO])


def _get_history() -> Steps:
    client = _client()
    _set(client, ONE)
    yield
    list(client.get_history("ann", ONE))


def _set_new() -> Steps:
    client = _client()
    yield
    _set(client, ONE, TWO)


def _update_one() -> Steps:
    client = _client()
    _set(client, ONE)
    yield
    _set(client, ONE)


def _update_two() -> Steps:
    client = _client()
    _set(client, ONE, TWO)
    yield
    _set(client, ONE, TWO)


def _update_two_cold() -> Steps:
    _set(_client(), ONE, TWO)
    client = _client()
    yield
    _set(client, ONE, TWO)


def _update_cold() -> Steps:
    _set(_client(), ONE, TWO)
    DjangoXBlockUserStateClient().set("bob", THREE, {"attempts": 1})
    client = _client()
    yield
    _set(client, *BLOCKS)


def _nothing_changes() -> Steps:
    DjangoXBlockUserStateClient().set_many("ann", {block: {"same": True} for block in (ONE, TWO)})
    client = _client()
    yield
    client.set_many("ann", {block: {"same": True} for block in (ONE, TWO)})


def _update_hot() -> Steps:
    _set(_client(), ONE)
    client = _client()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hot_rows, "any_hot", lambda _: True)
        yield
        _set(client, ONE)


def _update_in_a_transaction() -> Steps:
    _set(_client(), ONE)
    client = _client()
    yield
    with atomic():
        _set(client, ONE)


def _update_in_a_transaction_that_has_read() -> Steps:
    client = _client()
    _set(client, ONE)
    yield
    with atomic():
        _set(client, ONE)


def _update_one_row_without_history_in_a_transaction() -> Steps:
    client = _client()
    _set(client, ONE, scope=Scope.user_state_summary)
    yield
    with atomic():
        _set(client, ONE, scope=Scope.user_state_summary)


def _delete() -> Steps:
    client = _client()
    _set(client, ONE, TWO)
    yield
    client.delete_many("ann", [ONE, TWO])


def _delete_cold() -> Steps:
    _set(_client(), ONE, TWO)
    client = _client()
    yield
    client.delete_many("ann", [ONE, TWO])


def _set_score() -> Steps:
    client = _client()
    _set(client, ONE)
    yield
    client.set_score("ann", ONE, 1, 2)


def _replace() -> Steps:
    client = _client()
    _set(client, ONE)
    yield
    client.replace("ann", ONE, None)


def _find_blocks() -> Steps:
    yield
    DjangoXBlockUserStateClient().find_blocks(ONE)


def _get_latest() -> Steps:
    client = _client()
    _set(client, ONE, TWO)
    yield
    client.get_latest("ann", 3)


def _get_latest_by_id() -> Steps:
    _set(_client(), ONE, TWO)
    yield
    DjangoXBlockUserStateClient().get_latest(UserId(5), 3, COURSE)


def _set_with_outbox() -> Steps:
    client = _client()
    _set(client, ONE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conf, "writes_extended_history", lambda: True)
        patch.setattr(conf, "ships_at_once", lambda: False)
        yield
        _set(client, ONE)


def _batch() -> Steps:
    client = _client()
    client.set("ann", None, {"language": "en"}, Scope.user_info)
    client.set("ann", "problem", {"hints": True}, Scope.preferences)
    yield
    with client.batch("ann") as batch:
        batch.set(None, {"language": "fr"}, Scope.user_info)
        batch.set("problem", {"hints": False}, Scope.preferences)


def _scope(scope: Scope, key: Any) -> Callable[[], Steps]:
    def operation() -> Steps:
        _set(_client(), key, scope=scope)
        client = _client()
        yield
        _set(client, key, scope=scope)

    return operation


def _iterate_block() -> Steps:
    _set(_client(), ONE)
    yield
    list(DjangoXBlockUserStateClient().iter_all_for_block(ONE))


def _iterate_course() -> Steps:
    _set(_client(), *BLOCKS)
    yield
    list(DjangoXBlockUserStateClient().iter_all_for_course(COURSE, "problem", batch_size=2))


OPERATIONS: Mapping[str, Callable[[], Steps]] = {
    "get_many: one block, by a client that does not know its user": _get_one,
    "get_many: three blocks": _get_three,
    "get_encoded_rows: two blocks, and a row of each other scope": _get_rows_of_scopes,
    "get_scores": _get_scores,
    "get_latest: three rows": _get_latest,
    "get_latest: in one course, of a learner by id": _get_latest_by_id,
    "find_blocks": _find_blocks,
    "get_history": _get_history,
    "set_many: two blocks that nobody has written": _set_new,
    "set_many: update of one row, in the row cache": _update_one,
    "set_many: update of two rows, in the row cache": _update_two,
    "set_many: update of two rows, looked up": _update_two_cold,
    "set_many: two updates and a new row, looked up": _update_cold,
    "set_many: nothing changes": _nothing_changes,
    "set_many: a hot row, locked at first": _update_hot,
    "set_many: in the caller's transaction": _update_in_a_transaction,
    "set_many: in the caller's transaction, in the row cache": _update_in_a_transaction_that_has_read,
    "set_many: history in the outbox": _set_with_outbox,
    "delete_many": _delete,
    "delete_many: looked up": _delete_cold,
    "set_score": _set_score,
    "replace": _replace,
    "batch: two scopes, in the row cache": _batch,
    "set: scope preferences": _scope(Scope.preferences, "problem"),
    "set: scope user_info": _scope(Scope.user_info, None),
    "set: scope user_state_summary": _scope(Scope.user_state_summary, ONE),
    "set: one row without history in the caller's transaction": _update_one_row_without_history_in_a_transaction,
    "iter_all_for_block": _iterate_block,
    "iter_all_for_course: pages of two rows": _iterate_course,
}


# They go over all learners.
ITERATIONS = [name for name in OPERATIONS if name.startswith("iter_all")]


@pytest.mark.parametrize("name", OPERATIONS)
def test_statements_are_as_the_golden_file_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _compare(name, citus.DIALECT, monkeypatch)


@on_shards
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_statement_for_citus_goes_to_one_server(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with shards.used(monkeypatch), shards.checked() as faults:
        _compare(name, "citus", monkeypatch)
    assert faults == [] or name in ITERATIONS


@on_shards
@pytest.mark.parametrize("name", ["get_many: three blocks", "set_many: update of two rows, looked up"])
def test_the_statements_for_postgresql_would_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_learners("ann", "bob")
    with shards.used(monkeypatch), shards.checked() as faults:
        monkeypatch.setitem(distribution._KNOWN, connection.alias, False)
        _statements(OPERATIONS[name]())
    assert faults


def _compare(name: str, dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare the statements of an operation with those of the dialect's golden file."""
    # The files show a site without an extended history, also where the tests have a second database.
    monkeypatch.setattr(conf, "has_extended_history", lambda: False)
    make_learners("ann", "bob")
    sent = _statements(OPERATIONS[name]())
    golden = GoldenFile(dialect)
    if os.environ.get("GOLDEN_SQL") == "write":
        golden.replace(name, sent, list(OPERATIONS))
        golden = GoldenFile(dialect)
    assert sent == golden.statements(name)


def _statements(steps: Steps) -> list[str]:
    """Return the statements of the second step, with placeholders, and transaction control among them."""
    next(steps)
    templates: dict[int, str] = {}

    def keep(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        templates[len(connection.queries_log)] = sql
        return execute(sql, params, many, context)

    with CaptureQueriesContext(connection) as log, connection.execute_wrapper(keep):
        start = len(connection.queries_log)
        next(steps, None)
    # Only the query log has transaction control; the wrapper does not see it.
    return [_normal(templates.get(n, query["sql"])) for n, query in enumerate(log.captured_queries, start)]


def _normal(sql: str) -> str:
    return _NOISE.sub("", _ID.sub("<id>", _SAVEPOINT.sub("<savepoint>", plain(sql))))

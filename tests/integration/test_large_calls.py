"""Calls over a database's limits are cut into pieces in one transaction, with correct results (laws 1 and 6)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
from django.db import connection, transaction
from opaque_keys.edx.keys import UsageKey
from opaque_keys.edx.locator import CourseLocator
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_blocks, make_learners
from tests.integration.statements import captured, verbs
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import BlockKey, EncodedState
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.store.dialects import dialect_of

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 3000


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann", "bob")
    return DjangoXBlockUserStateClient()


@contextmanager
def few_parameters() -> Iterator[None]:
    """Limit SQLite to 200 parameters a statement, as some systems build it."""
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite lets a connection lower its limit of parameters")
    connection.ensure_connection()
    before = connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 200)
    try:
        yield
    finally:
        connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, before)


def _write_read_and_delete(client: DjangoXBlockUserStateClient, keys: list[UsageKey]) -> None:
    half = len(keys) // 2
    client.set_many("bob", {key: {"of": "bob"} for key in keys})
    client.set_many("ann", {key: {"a": number} for number, key in enumerate(keys[:half])})
    client.set_many("ann", {key: {"b": number} for number, key in enumerate(keys)})
    with client.batch("ann") as batch:
        for number, key in enumerate(keys):
            batch.set_score(key, number, len(keys))
    expected = [{"a": number, "b": number} if number < half else {"b": number} for number in range(len(keys))]
    assert [found.state for found in client.get_many("ann", keys)] == expected
    assert [score.grade for score in client.get_scores("ann", keys).values()] == [*range(len(keys))]
    client.delete_many("ann", keys, fields=["a"])
    assert [found.state for found in client.get_many("ann", keys)] == [{"b": number} for number in range(len(keys))]
    assert len(list(client.iter_all_for_course(COURSE, batch_size=700))) == 2 * len(keys)
    client.delete_many("ann", keys)
    assert list(client.get_many("ann", keys)) == []
    assert [found.state for found in client.get_many("bob", keys)] == [{"of": "bob"}] * len(keys)
    revisions = dict(StudentModule.objects.filter(student__username="ann").values_list("block__usage_key", "revision"))
    assert revisions == {str(key): 5 if number < half else 3 for number, key in enumerate(keys)}
    assert StudentModuleHistory.objects.count() == len(keys) + sum(revisions.values())


def test_thousands_of_blocks_in_one_call(client: DjangoXBlockUserStateClient) -> None:
    _write_read_and_delete(client, make_blocks(MANY))


@pytest.mark.parametrize(("limit", "count"), [(nullcontext, 1), (few_parameters, 5)], ids=["as is", "200 parameters"])
def test_rows_of_several_scopes(
    client: DjangoXBlockUserStateClient, limit: Callable[[], AbstractContextManager[None]], count: int
) -> None:
    blocks, types = make_blocks(250), [f"type{number}" for number in range(250)]
    client.set_many("ann", {key: {"number": number} for number, key in enumerate(blocks)})
    client.set_many("ann", {key: {"number": number} for number, key in enumerate(types)}, Scope.preferences)
    client.set("ann", None, {"number": 0}, Scope.user_info)
    rows: list[tuple[Scope, BlockKey]] = [(Scope.user_state, key) for key in blocks]
    rows += [*((Scope.preferences, key) for key in types), (Scope.user_info, None)]
    with limit(), captured() as statements:
        found = client.get_encoded_rows("ann", rows)
    assert found == [EncodedState(f'{{"number":{number}}}', 1) for number in (*range(250), *range(250), 0)]
    assert verbs(statements) == ["SELECT"] * count


@contextmanager
def _small_limit() -> Iterator[None]:
    """SQLite with a limit of 1 MB for a text: that of the servers is up to a gigabyte."""
    if connection.vendor == "postgresql":
        pytest.skip("a text of PostgreSQL may have a gigabyte")
    if connection.vendor == "mysql":
        yield
        return
    connection.ensure_connection()
    before = connection.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
    try:
        yield
    finally:
        connection.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)


# 9 MiB of quotes take more than 16 MiB in a statement.
@pytest.mark.parametrize(
    "text", ['"' * 9 * 2**20, "x" * 17 * 2**20, "\N{RINGED PLANET}" * 5 * 2**20], ids=["escaped", "ASCII", "emoji"]
)
@pytest.mark.parametrize("in_callers", [False, True], ids=["alone", "in a transaction"])
def test_a_state_over_the_servers_limit_is_a_clear_error(
    client: DjangoXBlockUserStateClient, text: str, in_callers: bool
) -> None:
    small, large = make_block("small"), make_block("large")
    client.set("ann", small, {"a": 1})
    with _small_limit(), transaction.atomic() if in_callers else nullcontext():
        with pytest.raises(
            ValueError, match=r"block@large is too large for the database 'default': it has [\d,]+ bytes"
        ):
            client.set_many("ann", {small: {"a": 2}, large: {"a": text}})
        with pytest.raises(ValueError, match="problem is too large"):
            client.set("ann", "problem", {"a": text}, Scope.preferences)
        assert client.get("ann", small).state == {"a": 1}
        client.set("ann", small, {"a": 3})
    assert [found.state for found in client.get_many("ann", [small, large])] == [{"a": 3}]
    assert StudentModuleHistory.objects.count() == 2


def test_many_large_states_in_one_call(client: DjangoXBlockUserStateClient) -> None:
    client.set_many("ann", {key: {"a": "x" * 2**20} for key in make_blocks(40)})
    assert [found.state for found in client.get_many("ann", make_blocks(40))] == [{"a": "x" * 2**20}] * 40


def test_few_parameters_to_a_statement(client: DjangoXBlockUserStateClient) -> None:
    with few_parameters():
        _write_read_and_delete(client, make_blocks(450))


def test_blocks_of_many_courses_with_few_parameters(client: DjangoXBlockUserStateClient) -> None:
    keys = [make_block(course=CourseLocator("Org", f"C{number}", "r")) for number in range(300)]
    with few_parameters():
        client.set_many("ann", {key: {"a": 1} for key in keys})
        assert len(list(client.get_many("ann", keys))) == 300


def test_learners_of_a_page_with_few_parameters(client: DjangoXBlockUserStateClient) -> None:
    make_learners(*(f"learner{number}" for number in range(250)))
    with few_parameters():
        for number in range(250):
            client.set(f"learner{number}", make_block(), {"a": 1})
        assert len(list(client.iter_all_for_block(make_block()))) == 250


def test_preferences_with_few_parameters(client: DjangoXBlockUserStateClient) -> None:
    names = [f"type{number}" for number in range(250)]
    with few_parameters():
        for value in (1, 2):
            client.set_many("ann", {name: {"a": value} for name in names}, Scope.preferences)
        assert [found.state for found in client.get_many("ann", names, Scope.preferences)] == [{"a": 2}] * 250


def _write_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one statement take fewer rows than a call in these tests has."""
    monkeypatch.setattr(type(dialect_of(connection)), "_max_rows", lambda *_: 1000)


def test_thousands_of_blocks_in_pieces(client: DjangoXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_in_pieces(monkeypatch)
    _write_read_and_delete(client, make_blocks(MANY))


def test_pieces_are_one_transaction(client: DjangoXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_in_pieces(monkeypatch)
    keys = make_blocks(MANY)
    client.set_many("bob", {key: {"a": 1} for key in keys})
    for value in (1, 2):
        with captured() as statements:
            client.set_many("ann", {key: {"a": value} for key in keys})
        assert verbs(statements).count("BEGIN") == 1
        assert verbs(statements).count("COMMIT") == 1
        assert len(statements) < 20


def test_reading_thousands_of_blocks_is_one_statement(client: DjangoXBlockUserStateClient) -> None:
    keys = make_blocks(MANY)
    client.set_many("ann", {keys[-1]: {"a": 1}})
    with captured() as statements:
        [found] = client.get_many("ann", keys)
    assert found.block_key == keys[-1]
    assert len(statements) == 1


@pytest.mark.parametrize(
    "large",
    ["x" * 6_000_000, "\"'\\" * 1_200_000, "é" * 1_000_000, "\x00" * 1_000_000],
    ids=["plain", "quotes", "non-ASCII", "null"],
)
def test_a_state_of_six_megabytes(client: DjangoXBlockUserStateClient, large: str) -> None:
    client.set("ann", make_block(), {"large": large})
    client.set("ann", make_block(), {"small": 1})
    assert client.get("ann", make_block()).state == {"large": large, "small": 1}
    last, first = client.get_history("ann", make_block())
    assert (first.state, last.state) == ({"large": large}, {"large": large, "small": 1})


def test_hundreds_of_large_states_in_one_call(client: DjangoXBlockUserStateClient) -> None:
    """24 MB: more than MariaDB accepts in one packet by default."""
    keys = make_blocks(400)
    answers = {"answers": ['"quoted"'] * 5000}
    for value in (1, 2):
        client.set_many("ann", {key: {**answers, "n": value} for key in keys})
    assert sum(found.state == {**answers, "n": 2} for found in client.get_many("ann", keys)) == 400
    assert StudentModuleHistory.objects.count() == 800
    client.delete_many("ann", keys, fields=["answers"])
    assert sum(found.state == {"n": 2} for found in client.get_many("ann", keys)) == 400

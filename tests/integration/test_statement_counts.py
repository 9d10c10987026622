"""The number of round trips does not depend on the number of blocks (law 6).

Outside a transaction, so that transaction control counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections, transaction
from opaque_keys.edx.keys import UsageKey
from opaque_keys.edx.locator import CourseLocator
from xblock.fields import Scope

from tests import citus
from tests.factories import make_blocks, make_learners
from tests.integration.statements import captured, verbs
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import BlockKey
from xblock_user_state.state.keys import identify_block
from xblock_user_state.store import users

SIZES = [1, 10, 400]
# With transaction control, for a client that has neither its user's id nor any row cached. A packet of several
# statements to MariaDB or MySQL counts as one: it is one round trip.
WRITE_LIMIT = 1 + {"postgresql": 2, "citus": 6, "mysql": 2, "sqlite": 5}[citus.DIALECT]
REGISTER_LIMIT = {"postgresql": 1, "citus": 1, "mysql": 3, "sqlite": 3}[citus.DIALECT]

Prepare = Callable[[list[UsageKey]], None]
Act = Callable[[DjangoXBlockUserStateClient, list[UsageKey]], Any]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def learners() -> list[Any]:
    return make_learners("ann", "bob")


def _course(number: int, of: str) -> CourseLocator:
    return CourseLocator("Org", of, f"r{number}")


def _statements(prepare: Prepare, act: Act, of: str, *, knows_its_user: bool = False) -> list[list[str]]:
    """Return the statements of the act for each size. Each size has a separate course and client."""
    found = []
    for number in SIZES:
        keys = make_blocks(number, course=_course(number, of))
        prepare(keys)
        client = DjangoXBlockUserStateClient()
        if knows_its_user:
            list(client.get_many("ann", keys[:1]))
        with captured() as statements:
            act(client, keys)
        found.append(statements)
    return found


def _new(keys: list[UsageKey]) -> None:
    """Leave all blocks new."""


def _of_another(keys: list[UsageKey]) -> None:
    """Write the blocks for another learner: they are registered, without a row of ann's."""
    DjangoXBlockUserStateClient().set_many("bob", {key: {"a": 1} for key in keys})


def _own(keys: list[UsageKey]) -> None:
    DjangoXBlockUserStateClient().set_many("ann", {key: {"a": 1, "b": 2} for key in keys})


def _mixed(keys: list[UsageKey]) -> None:
    """Write some blocks for ann, some for another learner, and leave the last ones new."""
    _own(keys[::3] or keys)
    _of_another(keys[: len(keys) * 3 // 4])


def _set(client: DjangoXBlockUserStateClient, keys: list[UsageKey]) -> None:
    client.set_many("ann", {key: {"a": number + 2} for number, key in enumerate(keys)})


def _delete(client: DjangoXBlockUserStateClient, keys: list[UsageKey]) -> None:
    client.delete_many("ann", keys)


def _delete_fields(client: DjangoXBlockUserStateClient, keys: list[UsageKey]) -> None:
    client.delete_many("ann", keys, fields=["a"])


def _batch(client: DjangoXBlockUserStateClient, keys: list[UsageKey]) -> None:
    with client.batch("ann") as batch:
        for number, key in enumerate(keys):
            batch.set(key, {"a": number + 2})
            batch.set_score(key, 1, 2)


def _read(keys: list[UsageKey]) -> dict[UsageKey, int]:
    """Return the revision of each block, read by another client; 0 where there is no row."""
    found = DjangoXBlockUserStateClient().get_encoded("ann", keys)
    return {key: found[key].revision or 0 if key in found else 0 for key in keys}


def _set_if(client: DjangoXBlockUserStateClient, keys: list[UsageKey], revisions: dict[UsageKey, int]) -> None:
    states = {key: {"a": number + 2} for number, key in enumerate(keys)}
    client.set_many("ann", states, if_revisions=revisions)


def _no_change_if(client: DjangoXBlockUserStateClient, keys: list[UsageKey], revisions: dict[UsageKey, int]) -> None:
    client.set_many("ann", {key: {"a": 1, "b": 2} for key in keys}, if_revisions=revisions)


def _delete_if(client: DjangoXBlockUserStateClient, keys: list[UsageKey], revisions: dict[UsageKey, int]) -> None:
    client.delete_many("ann", keys, if_revisions=revisions)


def _batch_if(client: DjangoXBlockUserStateClient, keys: list[UsageKey], revisions: dict[UsageKey, int]) -> None:
    conditions = {(Scope.user_state, key): revision for key, revision in revisions.items()}
    with client.batch("ann", if_revisions=conditions) as batch:
        for number, key in enumerate(keys):
            batch.set(key, {"a": number + 2})
            batch.set_score(key, 1, 2)


def _no_change(client: DjangoXBlockUserStateClient, keys: list[UsageKey]) -> None:
    client.set_many("ann", {key: {"a": 1, "b": 2} for key in keys})


@pytest.mark.parametrize(
    ("prepare", "act", "limit"),
    [
        pytest.param(_new, _set, WRITE_LIMIT + REGISTER_LIMIT, id="set, never seen"),
        pytest.param(_of_another, _set, WRITE_LIMIT, id="set, new to the learner"),
        pytest.param(_own, _set, WRITE_LIMIT, id="set, update"),
        pytest.param(_mixed, _set, WRITE_LIMIT + REGISTER_LIMIT, id="set, mixed"),
        pytest.param(_own, _no_change, WRITE_LIMIT, id="set, no change"),
        pytest.param(_new, _delete, WRITE_LIMIT, id="delete, never seen"),
        pytest.param(_of_another, _delete, WRITE_LIMIT, id="delete, new to the learner"),
        pytest.param(_own, _delete, WRITE_LIMIT, id="delete, update"),
        pytest.param(_own, _delete_fields, WRITE_LIMIT, id="delete fields"),
        pytest.param(_mixed, _delete, WRITE_LIMIT + REGISTER_LIMIT, id="delete, mixed"),
        pytest.param(_new, _batch, WRITE_LIMIT + REGISTER_LIMIT, id="batch, never seen"),
        pytest.param(_own, _batch, WRITE_LIMIT, id="batch, update"),
    ],
)
def test_a_write_has_few_statements_whatever_the_number_of_blocks(prepare: Prepare, act: Act, limit: int) -> None:
    found = _statements(prepare, act, act.__name__)
    one, *more = [verbs(statements) for statements in found]
    assert all(len(statements) <= limit for statements in (one, *more)), found[0]
    if prepare is not _mixed:
        assert more == [one, one]


@pytest.mark.parametrize(
    ("prepare", "act", "conditional"),
    [
        pytest.param(_new, _set, _set_if, id="set, never seen"),
        pytest.param(_of_another, _set, _set_if, id="set, new to the learner"),
        pytest.param(_own, _set, _set_if, id="set, update"),
        pytest.param(_mixed, _set, _set_if, id="set, mixed"),
        pytest.param(_own, _no_change, _no_change_if, id="set, no change"),
        pytest.param(_new, _delete, _delete_if, id="delete, never seen"),
        pytest.param(_own, _delete, _delete_if, id="delete, update"),
        pytest.param(_mixed, _delete, _delete_if, id="delete, mixed"),
        pytest.param(_new, _batch, _batch_if, id="batch, never seen"),
        pytest.param(_own, _batch, _batch_if, id="batch, update"),
    ],
)
@pytest.mark.parametrize("is_cached", [False, True], ids=["by a new client", "by the client that read"])
def test_a_condition_costs_no_statement(prepare: Prepare, act: Act, conditional: Any, is_cached: bool) -> None:
    for number in SIZES:
        found = []
        for name in ("unconditional", "conditional"):
            keys = make_blocks(number, course=_course(number, name))
            prepare(keys)
            revisions = _read(keys)
            client = DjangoXBlockUserStateClient()
            if is_cached:
                list(client.get_many("ann", keys))
            with captured() as statements:
                if name == "conditional":
                    conditional(client, keys, revisions)
                else:
                    act(client, keys)
            found.append(verbs(statements))
        assert found[0] == found[1]


def test_a_write_is_a_lookup_and_then_one_transaction() -> None:
    lookup_and_write = {
        "postgresql": ["SELECT", "WITH"],
        "citus": ["SELECT", "BEGIN", "WITH", "INSERT", "COMMIT"],
        "mysql": ["SELECT", "START"],
        "sqlite": ["BEGIN", "SELECT", "INSERT", "INSERT", "COMMIT"],
    }
    of_new_rows = {**lookup_and_write, "citus": ["SELECT", "BEGIN", "INSERT", "INSERT", "COMMIT"]}
    for prepare, expected in ((_of_another, of_new_rows), (_own, lookup_and_write)):
        for statements in _statements(prepare, _set, prepare.__name__):
            assert verbs(statements)[1:] == expected[citus.DIALECT]


def test_a_write_of_rows_that_the_client_has_read_is_a_transaction_without_a_lookup() -> None:
    write = {
        "postgresql": ["WITH"],
        "citus": ["BEGIN", "WITH", "INSERT", "COMMIT"],
        "mysql": ["START"],
        "sqlite": ["BEGIN", "INSERT", "INSERT", "COMMIT"],
    }

    def read_and_set(client: DjangoXBlockUserStateClient, keys: list[UsageKey]) -> None:
        list(client.get_many("ann", keys))
        _set(client, keys)

    for statements in _statements(_own, read_and_set, "K"):
        assert verbs(statements) == ["SELECT", "SELECT", *write[citus.DIALECT]]


def _in_a_transaction(user: Any, *, reads: bool, key: BlockKey, scope: Scope, number: int = 1) -> list[list[str]]:
    """Return the statements of two writes in one transaction of a caller. With `reads` the client has read the rows."""
    keys = make_blocks(number) if scope in (Scope.user_state, Scope.user_state_summary) else [key]
    DjangoXBlockUserStateClient().set_many("ann", {key: {"a": 1} for key in keys}, scope)
    found = []
    with transaction.atomic():
        client = DjangoXBlockUserStateClient(user)
        if reads:
            list(client.get_many("ann", keys, scope))
        for value in (2, 3):
            with captured() as statements:
                client.set_many("ann", {key: {"a": value} for key in keys}, scope)
            found.append(verbs(statements))
    assert [state.state for state in DjangoXBlockUserStateClient().get_many("ann", keys, scope)] == [{"a": 3}] * len(
        keys
    )
    return found


SCOPES = [
    pytest.param(Scope.preferences, "problem", id="preferences"),
    pytest.param(Scope.user_info, None, id="user_info"),
    pytest.param(Scope.user_state_summary, None, id="user_state_summary"),
]


@pytest.mark.parametrize("number", SIZES)
def test_a_write_in_a_callers_transaction_is_a_locked_lookup_and_a_write_in_a_savepoint(
    learners: list[Any], number: int
) -> None:
    looked_up, cached = {
        "postgresql": (["SAVEPOINT", "WITH", "WITH", "RELEASE"], ["SAVEPOINT", "WITH", "RELEASE"]),
        "citus": (
            ["SAVEPOINT", "WITH", "WITH", "INSERT", "RELEASE"],
            ["SAVEPOINT", "WITH", "INSERT", "RELEASE"],
        ),
        "mysql": (
            ["WITH", "SAVEPOINT", "INSERT", "INSERT", "RELEASE"],
            ["SAVEPOINT", "INSERT", "INSERT", "RELEASE"],
        ),
        "sqlite": (
            ["SELECT", "SAVEPOINT", "INSERT", "INSERT", "RELEASE"],
            ["SAVEPOINT", "INSERT", "INSERT", "RELEASE"],
        ),
    }[citus.DIALECT]
    for reads in (False, True):
        found = _in_a_transaction(learners[0], reads=reads, key=None, scope=Scope.user_state, number=number)
        assert found == [cached if reads else looked_up, cached]


@pytest.mark.parametrize(("scope", "key"), SCOPES)
def test_a_write_of_one_row_without_history_needs_no_savepoint(
    learners: list[Any], scope: Scope, key: BlockKey
) -> None:
    update = {"postgresql": ["SAVEPOINT", "WITH", "RELEASE"], "mysql": ["UPDATE"], "sqlite": ["INSERT"]}
    cached = update[connection.vendor]
    joins = scope == Scope.user_state_summary
    lookup = {"postgresql": "WITH" if joins else "SELECT", "mysql": "WITH" if joins else "SELECT", "sqlite": "SELECT"}
    looked_up = {
        "postgresql": ["SAVEPOINT", lookup["postgresql"], "WITH", "RELEASE"],
        "mysql": [lookup["mysql"], "UPDATE"],
        "sqlite": ["SELECT", "INSERT"],
    }[connection.vendor]
    assert _in_a_transaction(learners[0], reads=False, key=key, scope=scope) == [looked_up, cached]
    assert _in_a_transaction(learners[0], reads=True, key=key, scope=scope) == [cached, cached]


def test_reading_states_is_one_statement() -> None:
    for statements in _statements(
        _own, lambda client, keys: list(client.get_many("ann", keys)), "G", knows_its_user=True
    ):
        assert len(statements) == 1
    for statements in _statements(_own, lambda client, keys: list(client.get_many("ann", keys)), "H"):
        assert len(statements) == 2


def test_reading_encoded_states_is_one_statement() -> None:
    for statements in _statements(_own, lambda client, keys: client.get_encoded("ann", keys), "E", knows_its_user=True):
        assert len(statements) == 1


def test_reading_scores_is_one_statement() -> None:
    for statements in _statements(_own, lambda client, keys: client.get_scores("ann", keys), "S", knows_its_user=True):
        assert len(statements) == 1


def test_a_client_made_with_its_user_asks_for_no_user(learners: list[Any]) -> None:
    [key] = make_blocks(1)
    client = DjangoXBlockUserStateClient(learners[0])
    client.set("ann", key, {"a": 1})
    with captured() as statements:
        list(client.get_many("ann", [key]))
    assert len(statements) == 1
    with captured() as statements:
        client.set("ann", key, {"a": 2})
    assert len(statements) <= WRITE_LIMIT - 1
    assert not any("auth_user" in statement for statement in statements)


@pytest.mark.parametrize("entries", [1, 100])
def test_reading_a_history_is_a_statement_for_the_name_and_one_a_store(entries: int) -> None:
    [key] = make_blocks(1)
    client = DjangoXBlockUserStateClient()
    for number in range(entries):
        client.set("ann", key, {"a": number})
    with captured() as statements:
        assert len(list(DjangoXBlockUserStateClient().get_history("ann", key))) == entries
    stores = ["default history", "outbox"] if "student_module_history" in connections else ["default history"]
    assert len(statements) <= 1 + len(stores)


@pytest.mark.parametrize(
    "scope", [Scope.preferences, Scope.user_info, Scope.user_state_summary], ids=lambda scope: scope.name
)
def test_the_other_scopes_have_the_same_limits(scope: Scope) -> None:
    key = {Scope.preferences: "problem", Scope.user_info: None, Scope.user_state_summary: make_blocks(1)[0]}[scope]
    client = DjangoXBlockUserStateClient()
    for value, limit in ((1, WRITE_LIMIT + REGISTER_LIMIT), (2, WRITE_LIMIT)):
        with captured() as statements:
            client.set("ann", key, {"a": value}, scope)
        assert len(statements) <= limit
    with captured() as statements:
        client.get("ann", key, scope)
    assert len(statements) == 1


def test_nothing_to_do_is_nothing_sent() -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", make_blocks(1)[0], {"a": 1})
    with captured() as statements:
        assert list(client.get_many("ann", [])) == []
        assert client.get_scores("ann", []) == {}
        with client.batch("ann"):
            pass
    assert statements == []


def test_an_iteration_has_two_statements_a_batch() -> None:
    make_learners(*(f"learner{number}" for number in range(10)))
    [key] = make_blocks(1)
    for number in range(10):
        DjangoXBlockUserStateClient().set(f"learner{number}", key, {"a": number})
    for size, pages in ((4, 3), (11, 1), (1000, 1)):
        with captured() as statements:
            assert len(list(DjangoXBlockUserStateClient().iter_all_for_block(key, batch_size=size))) == 10
        assert len(statements) <= 2 * pages
        assert sum(f"LIMIT {size}" in statement for statement in statements) == pages
        assert not {"BEGIN", "COMMIT", "DECLARE"} & {*verbs(statements)}


@pytest.mark.parametrize(("remembered", "asked"), [(users.MAX_USERNAMES, 2), (5, 3), (2, 4)])
def test_an_iteration_asks_again_only_for_names_that_it_has_forgotten(
    monkeypatch: pytest.MonkeyPatch, remembered: int, asked: int
) -> None:
    """The rows of each block are a page; all pages have the same three learners, except the second block's."""
    monkeypatch.setattr(users, "MAX_USERNAMES", remembered)
    names = [f"learner{number}" for number in range(6)]
    make_learners(*names)
    course = _course(1, "N")
    keys = sorted(make_blocks(4, course=course), key=lambda key: identify_block(key).id)
    for number, key in enumerate(keys):
        for name in names[3:] if number == 1 else names[:3]:
            DjangoXBlockUserStateClient().set(name, key, {"a": number})
    with captured() as statements:
        found = list(DjangoXBlockUserStateClient().iter_all_for_course(course, batch_size=3))
    assert [(one.username, one.state) for one in found] == [
        (name, {"a": number}) for number in range(4) for name in (names[3:] if number == 1 else names[:3])
    ]
    assert sum("auth_user" in statement for statement in statements) == asked

"""A writer that has just lost a race for a row waits for its lock instead of losing again."""

from __future__ import annotations

import pytest
from django.db import connection
from xblock.fields import Scope

from tests.factories import make_block, make_learners
from tests.integration.interference import just_before, on_another_connection
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule
from xblock_user_state.store import hot_rows

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor == "sqlite", reason="SQLite lets one writer begin at a time: there is no race to lose"
    ),
]
BLOCK, OTHER = make_block(), make_block(name="other")


@pytest.fixture(autouse=True)
def learners() -> None:
    make_learners("ann", "bob")


@pytest.fixture
def _lost_race() -> None:
    """Let a write of ann's row in the block lose a race."""
    _set({"a": 1})
    with just_before("UPDATE", StudentModule, lambda: on_another_connection(lambda: _set({"b": 2}))):
        _set({"a": 3})


def _set(fields: dict[str, int], *, username: str = "ann", block: object = BLOCK) -> list[bool]:
    """Write; return for each lookup whether it locked the row."""
    with captured() as statements:
        DjangoXBlockUserStateClient().set_many(username, {block: fields})
    return ["FOR UPDATE" in sql for sql in statements if "SELECT asked.id" in sql]


@pytest.mark.usefixtures("_lost_race")
def test_the_row_is_locked_at_the_first_lookup() -> None:
    assert _set({"a": 4}) == [True]
    client = DjangoXBlockUserStateClient()
    assert client.get("ann", BLOCK).state == {"a": 4, "b": 2}
    assert [entry.revision for entry in client.get_history("ann", BLOCK)] == [4, 3, 2, 1]


@pytest.mark.usefixtures("_lost_race")
def test_a_client_with_a_cached_row_looks_it_up() -> None:
    client = DjangoXBlockUserStateClient()
    client.get("ann", BLOCK)
    on_another_connection(lambda: _set({"b": 5}))
    with captured() as statements:
        client.set("ann", BLOCK, {"a": 6})
    assert sum("FOR UPDATE" in sql for sql in statements) == 1
    assert client.get("ann", BLOCK).state == {"a": 6, "b": 5}


@pytest.mark.usefixtures("_lost_race")
def test_other_rows_are_not() -> None:
    for username, block in (("bob", BLOCK), ("ann", OTHER)):
        _set({"a": 1}, username=username, block=block)
        assert _set({"a": 2}, username=username, block=block) == [False]
    client = DjangoXBlockUserStateClient()
    with captured() as statements:
        client.set("ann", BLOCK, {"a": 1}, Scope.user_state_summary)
    assert not any("FOR UPDATE" in sql for sql in statements)


def test_after_a_while_it_is_tried_without_a_lock(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(hot_rows, "SECONDS", -1.0)
    request.getfixturevalue("_lost_race")
    assert _set({"a": 4}) == [False]

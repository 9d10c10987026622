"""A client caches the rows that it has read or written, and its writes stay correct."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import Error, connection, transaction
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from tests import citus
from tests.factories import make_block, make_blocks, make_learners
from tests.integration.interference import just_before, on_another_connection, second_connection
from tests.integration.rows import assert_history_is_gapless, shift_times
from tests.integration.statements import captured, verbs
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule, UserStateSummary
from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import RowKey
from xblock_user_state.store import row_cache
from xblock_user_state.store.row_cache import RowCache
from xblock_user_state.store.tables import TABLES

pytestmark = pytest.mark.django_db(transaction=True)
BLOCK = make_block()
WRITE = {
    "postgresql": ["WITH"],
    "citus": ["BEGIN", "WITH", "INSERT", "COMMIT"],
    "mysql": ["START"],
    "sqlite": ["BEGIN", "INSERT", "INSERT", "COMMIT"],
}[citus.DIALECT]


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    """A client with ann and her state in a block in its caches."""
    [ann, _] = make_learners("ann", "bob")
    client = DjangoXBlockUserStateClient(ann)
    client.set("ann", BLOCK, {"a": 1, "b": 1})
    return client


def _other() -> DjangoXBlockUserStateClient:
    return DjangoXBlockUserStateClient()


def _writes_without_a_read(client: DjangoXBlockUserStateClient, value: int, key: UsageKey = BLOCK) -> bool:
    with captured() as statements:
        client.set("ann", key, {"a": value})
    return verbs(statements) == WRITE


def test_a_written_row_is_cached(client: DjangoXBlockUserStateClient) -> None:
    for value in (2, 3, 4):
        assert _writes_without_a_read(client, value)
    assert _other().get("ann", BLOCK).state == {"a": 4, "b": 1}
    assert_history_is_gapless()


def test_a_read_row_is_cached(client: DjangoXBlockUserStateClient) -> None:
    reader = DjangoXBlockUserStateClient()
    reader.get("ann", BLOCK, fields=["b"])
    assert _writes_without_a_read(reader, 2)
    assert _other().get("ann", BLOCK).state == {"a": 2, "b": 1}
    assert_history_is_gapless()


def test_a_row_read_encoded_is_cached(client: DjangoXBlockUserStateClient) -> None:
    reader = DjangoXBlockUserStateClient()
    reader.get_encoded("ann", [BLOCK])
    assert _writes_without_a_read(reader, 2)
    assert _other().get("ann", BLOCK).state == {"a": 2, "b": 1}
    assert_history_is_gapless()


def test_a_row_that_another_has_changed_is_read_again(client: DjangoXBlockUserStateClient) -> None:
    _other().set("ann", BLOCK, {"b": 2, "c": 2})
    _other().set_score("ann", BLOCK, 1, 2)
    client.set("ann", BLOCK, {"a": 3})
    assert _other().get("ann", BLOCK).state == {"a": 3, "b": 2, "c": 2}
    assert _other().get_scores("ann", [BLOCK])[BLOCK].grade == 1
    assert_history_is_gapless()


def test_one_of_many_that_another_has_changed(client: DjangoXBlockUserStateClient) -> None:
    keys = make_blocks(5)
    client.set_many("ann", {key: {"a": 1} for key in keys})
    _other().set("ann", keys[2], {"b": 2})
    client.set_many("ann", {key: {"a": 2} for key in keys})
    found = [state.state for state in _other().get_many("ann", keys)]
    assert found == [{"a": 2}, {"a": 2}, {"a": 2, "b": 2}, {"a": 2}, {"a": 2}]
    assert {*StudentModule.objects.exclude(block_id=_id_of_block()).values_list("revision", flat=True)} == {2, 3}
    assert_history_is_gapless()


def _id_of_block() -> int:
    return StudentModule.objects.order_by("created").values_list("block_id", flat=True)[0]


def test_the_last_commit_wins_also_if_the_client_thinks_that_nothing_changes(
    client: DjangoXBlockUserStateClient,
) -> None:
    _other().set("ann", BLOCK, {"a": 2})
    client.set("ann", BLOCK, {"a": 1})
    assert _other().get("ann", BLOCK).state == {"a": 1, "b": 1}
    assert StudentModule.objects.get().revision == 3


def test_a_row_of_a_later_life_is_read_again(client: DjangoXBlockUserStateClient) -> None:
    StudentModule.objects.all().delete()
    _other().set("ann", BLOCK, {"new": 1})
    client.set("ann", BLOCK, {"a": 2})
    assert _other().get("ann", BLOCK).state == {"new": 1, "a": 2}
    assert_history_is_gapless()


def test_a_row_of_a_later_life_with_the_same_revision_and_another_beginning(
    client: DjangoXBlockUserStateClient,
) -> None:
    """As above; only the time of creation tells the two lives apart."""
    shift_times(StudentModule._base_manager.all(), "created", timedelta(microseconds=1))
    StudentModule._base_manager.update(state='{"new":1}', history_chain=0)
    client.set("ann", BLOCK, {"a": 2})
    assert _other().get("ann", BLOCK).state == {"new": 1, "a": 2}


def test_a_row_that_is_gone(client: DjangoXBlockUserStateClient) -> None:
    StudentModule.objects.all().delete()
    client.set("ann", BLOCK, {"a": 2})
    assert _other().get("ann", BLOCK).state == {"a": 2}
    assert StudentModule.objects.get().revision == 1
    assert_history_is_gapless()


def test_a_row_that_a_caller_rolls_back_is_not_cached(client: DjangoXBlockUserStateClient) -> None:
    with transaction.atomic():
        client.set("ann", BLOCK, {"a": 2, "lost": 2})
        client.get("ann", BLOCK)
        transaction.set_rollback(True)
    # The same revision as the one that was rolled back.
    _other().set("ann", BLOCK, {"c": 3})
    client.set("ann", BLOCK, {"a": 4})
    assert _other().get("ann", BLOCK).state == {"a": 4, "b": 1, "c": 3}
    assert_history_is_gapless()


def test_a_deletion_in_a_cached_row(client: DjangoXBlockUserStateClient) -> None:
    with captured() as statements:
        client.delete("ann", BLOCK, fields=["b"])
    assert verbs(statements) == WRITE
    _other().set("ann", BLOCK, {"c": 1})
    client.delete("ann", BLOCK, fields=["b"])
    client.delete("ann", BLOCK, fields=["c"])
    assert _other().get("ann", BLOCK).state == {"a": 1}


def test_of_each_scope(client: DjangoXBlockUserStateClient) -> None:
    places = {Scope.preferences: "problem", Scope.user_info: None, Scope.user_state_summary: BLOCK}
    for scope, key in places.items():
        client.set("ann", key, {"a": 1}, scope)
        with captured() as statements:
            client.set("ann", key, {"a": 2}, scope)
        assert "SELECT" not in verbs(statements)
        _other().set("ann", key, {"b": 3}, scope)
        client.set("ann", key, {"a": 4}, scope)
        assert _other().get("ann", key, scope).state == {"a": 4, "b": 3}


def test_a_batch_over_scopes_in_which_one_row_has_changed(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", None, {"a": 1}, Scope.user_info)
    _other().set("ann", None, {"b": 2}, Scope.user_info)
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"a": 3})
        batch.set(None, {"a": 3}, Scope.user_info)
    assert _other().get("ann", BLOCK).state == {"a": 3, "b": 1}
    assert _other().get("ann", None, Scope.user_info).state == {"a": 3, "b": 2}
    assert StudentModule.objects.get().revision == 2
    assert_history_is_gapless()


def test_another_learners_row_is_not_taken_for_it(client: DjangoXBlockUserStateClient) -> None:
    client.set("bob", BLOCK, {"of": "bob"})
    client.set("ann", BLOCK, {"a": 2})
    assert _other().get("ann", BLOCK).state == {"a": 2, "b": 1}
    assert _other().get("bob", BLOCK).state == {"of": "bob"}


def test_long_texts_and_many_rows_are_not_kept(
    client: DjangoXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_cache, "MAX_TEXT", 20)
    client.set("ann", BLOCK, {"a": 1, "b": "x" * 20})
    assert not _writes_without_a_read(client, 2)
    monkeypatch.setattr(row_cache, "MAX_TEXT", 1000)
    monkeypatch.setattr(row_cache, "MAX_ROWS", 3)
    keys = make_blocks(4)
    client.set_many("ann", {key: {"a": 1} for key in keys})
    assert not _writes_without_a_read(client, 2, keys[0])
    client.set_many("ann", {key: {"a": 3} for key in keys[:2]})
    assert _writes_without_a_read(client, 4, keys[1])


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite lets one writer begin at a time")
def test_a_race_that_is_lost_twice(client: DjangoXBlockUserStateClient) -> None:
    _other().set("ann", BLOCK, {"b": 2})
    with just_before("SELECT", StudentModule, lambda: _other().set("ann", BLOCK, {"c": 3})):
        client.set("ann", BLOCK, {"a": 4})
    assert _other().get("ann", BLOCK).state == {"a": 4, "b": 2, "c": 3}
    assert_history_is_gapless()


def _statements(client: DjangoXBlockUserStateClient, value: int) -> list[str]:
    """Return the statements of a write of what all learners share, which has no history."""
    with captured() as statements:
        client.set("ann", BLOCK, {"a": value}, Scope.user_state_summary)
    return verbs(statements)


def _looks_up(client: DjangoXBlockUserStateClient, value: int) -> bool:
    statements = _statements(client, value)
    # On PostgreSQL a locking lookup and a write begin with the same word.
    return statements.count("WITH") > (connection.vendor == "postgresql") or "SELECT" in statements


def _shared() -> Any:
    return _other().get("ann", BLOCK, Scope.user_state_summary).state


@pytest.fixture
def shared(client: DjangoXBlockUserStateClient) -> DjangoXBlockUserStateClient:
    """A client without anything cached, and a shared row."""
    client.set("ann", BLOCK, {"a": 1, "b": 1}, Scope.user_state_summary)
    return _other()


def test_rows_of_a_callers_transaction_are_cached_until_its_end(shared: DjangoXBlockUserStateClient) -> None:
    with transaction.atomic():
        shared.get("ann", BLOCK, Scope.user_state_summary)
        with transaction.atomic():
            assert not _looks_up(shared, 2)
        # What it has written, also in a savepoint that was released.
        assert not _looks_up(shared, 3)
    with transaction.atomic():
        assert _looks_up(shared, 4)
    assert _shared() == {"a": 4, "b": 1}


def test_rows_that_were_committed_before_a_callers_transaction_are_cached(shared: DjangoXBlockUserStateClient) -> None:
    shared.get("ann", BLOCK, Scope.user_state_summary)
    with transaction.atomic():
        assert not _looks_up(shared, 2)
    assert _shared() == {"a": 2, "b": 1}


@pytest.mark.parametrize("kind", ["atomic", "by hand"])
def test_a_rollback_to_a_savepoint_forgets_the_rows_of_the_transaction(
    shared: DjangoXBlockUserStateClient, kind: str
) -> None:
    """The revision alone does not tell the row that was rolled back from the one that another writer made since."""
    with transaction.atomic():
        if kind == "atomic":
            with transaction.atomic():
                shared.set("ann", BLOCK, {"a": 2, "lost": 2}, Scope.user_state_summary)
                transaction.set_rollback(True)
        else:
            savepoint = connection.savepoint()
            assert savepoint is not None
            shared.set("ann", BLOCK, {"a": 2, "lost": 2}, Scope.user_state_summary)
            connection.savepoint_rollback(savepoint)
        # As another process, whose commit this transaction can see. SQLite has one writer only.
        _other().set("ann", BLOCK, {"b": 3}, Scope.user_state_summary)
        assert _looks_up(shared, 4)
    assert _shared() == {"a": 4, "b": 3}


def test_a_transaction_that_was_rolled_back_leaves_nothing_in_the_cache(shared: DjangoXBlockUserStateClient) -> None:
    for _ in range(2):
        with transaction.atomic():
            shared.set("ann", BLOCK, {"a": 2, "lost": 2}, Scope.user_state_summary)
            transaction.set_rollback(True)
        _other().set("ann", BLOCK, {"b": 3}, Scope.user_state_summary)
        with transaction.atomic():
            shared.set("ann", BLOCK, {"a": 4}, Scope.user_state_summary)
            transaction.set_rollback(True)
        with transaction.atomic():
            shared.set("ann", BLOCK, {"a": 4}, Scope.user_state_summary)
        assert _shared() == {"a": 4, "b": 3}


@pytest.mark.skipif(connection.vendor == "postgresql", reason="an error ends a transaction of PostgreSQL")
def test_after_an_error_of_the_database_a_callers_transaction_caches_nothing(
    shared: DjangoXBlockUserStateClient,
) -> None:
    """A deadlock rolls back a whole transaction of MariaDB, and Django does not know it. A caller may go on."""
    with transaction.atomic():
        shared.set("ann", BLOCK, {"a": 2}, Scope.user_state_summary)
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM missing_table")
        assert _looks_up(shared, 3)
        assert _looks_up(shared, 4)
    # As at the end of a request.
    connection.close_if_unusable_or_obsolete()
    with transaction.atomic():
        assert _looks_up(shared, 5)
        assert not _looks_up(shared, 6)
    assert _shared() == {"a": 6, "b": 1}


@pytest.mark.parametrize("recorded", [False, True])
def test_a_row_that_another_has_changed_in_the_callers_transaction_is_read_again(
    client: DjangoXBlockUserStateClient, recorded: bool
) -> None:
    scope = Scope.user_state if recorded else Scope.user_state_summary
    client.set("ann", BLOCK, {"a": 1, "b": 1}, scope)
    with transaction.atomic():
        client.get("ann", BLOCK, scope)
        _other().set("ann", BLOCK, {"b": 2, "c": 2}, scope)
        client.set("ann", BLOCK, {"a": 3}, scope)
    assert _other().get("ann", BLOCK, scope).state == {"a": 3, "b": 2, "c": 2}
    assert_history_is_gapless()


def test_a_cached_row_that_was_deleted_in_the_callers_transaction_is_made_again(
    shared: DjangoXBlockUserStateClient,
) -> None:
    with transaction.atomic():
        shared.get("ann", BLOCK, Scope.user_state_summary)
        UserStateSummary._base_manager.all().delete()
        shared.set("ann", BLOCK, {"a": 2}, Scope.user_state_summary)
    assert _shared() == {"a": 2}
    assert UserStateSummary._base_manager.get().revision == 1


def test_several_cached_rows_of_which_one_is_stale_are_written_whole(client: DjangoXBlockUserStateClient) -> None:
    keys = make_blocks(3)
    client.set_many("ann", {key: {"a": 1} for key in keys}, Scope.user_state_summary)
    with transaction.atomic():
        list(client.get_many("ann", keys, Scope.user_state_summary))
        _other().set("ann", keys[1], {"b": 2}, Scope.user_state_summary)
        client.set_many("ann", {key: {"a": 3} for key in keys}, Scope.user_state_summary)
    found = [state.state for state in _other().get_many("ann", keys, Scope.user_state_summary)]
    assert found == [{"a": 3}, {"a": 3, "b": 2}, {"a": 3}]
    assert set(UserStateSummary._base_manager.values_list("revision", flat=True)) == {2, 3}


def test_threads_that_share_a_client_do_not_see_rows_of_each_others_transactions(
    shared: DjangoXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other thread comes in between this one's look at its transaction and its use of the cache."""
    follow = RowCache._follow

    def interrupted(cache: RowCache, one: Any) -> Any:
        found = follow(cache, one)
        monkeypatch.setattr(RowCache, "_follow", follow)
        on_another_connection(of_another_thread)
        return found

    def of_another_thread() -> None:
        with second_connection() as other:
            other.set_autocommit(False)
            shared._row_cache.remember(other, TABLES[Scope.user_state_summary], None, {block: row})
            other.rollback()

    with transaction.atomic():
        shared.get("ann", BLOCK, Scope.user_state_summary)
        [[(block, row)]] = [rows.items() for rows in _cached_rows(shared)]
        row = row._replace(text='{"of":"another transaction"}')
        monkeypatch.setattr(RowCache, "_follow", interrupted)
        shared.set("ann", BLOCK, {"a": 2}, Scope.user_state_summary)
    assert _shared() == {"a": 2, "b": 1}


def _cached_rows(client: DjangoXBlockUserStateClient) -> list[dict[RowKey, Row]]:
    return [*client._row_cache._of_transaction[1].values()]

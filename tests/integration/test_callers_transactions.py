"""Calls inside a caller's transaction commit and roll back with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from threading import Event, Thread

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, Error, connection, connections, transaction
from django.db.transaction import TransactionManagementError
from xblock.fields import Scope

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.interference import needs_a_server, refusing, second_connection
from tests.integration.rows import assert_history_is_gapless, everything_and_keys
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import PermissionDenied, ServiceUnavailable, UserDoesNotExist
from xblock_user_state.models import StudentModuleHistory, UserStateSummary
from xblock_user_state.state.keys import identify_block

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("prepared_or_not")]
BLOCK = make_block()


class Undo(Exception):
    """Raised to roll a transaction back."""


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann", "bob")
    return DjangoXBlockUserStateClient()


def _write_everything(client: DjangoXBlockUserStateClient, value: int) -> None:
    client.set_many("ann", {key: {"a": value} for key in make_blocks(3)})
    client.set_score("ann", make_block("scored"), value, 10)
    client.set("ann", "problem", {"a": value}, Scope.preferences)
    client.set("ann", None, {"a": value}, Scope.user_info)
    client.set("ann", BLOCK, {"a": value}, Scope.user_state_summary)
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"a": value})
        batch.set_score(BLOCK, value, 10)


def test_a_rollback_leaves_no_trace(client: DjangoXBlockUserStateClient) -> None:
    for value in (1, 2):
        before = everything_and_keys()
        with suppress(Undo), transaction.atomic():
            _write_everything(client, value)
            assert client.get("ann", BLOCK).state == {"a": value}
            raise Undo
        assert everything_and_keys() == before
        _write_everything(client, value)
        assert client.get("ann", BLOCK).state == {"a": value}
    assert_history_is_gapless()


def test_a_commit_commits_all_of_it(client: DjangoXBlockUserStateClient) -> None:
    with transaction.atomic():
        _write_everything(client, 1)
        _write_everything(client, 2)
    assert client.get("ann", BLOCK).state == {"a": 2}
    assert_history_is_gapless()


def test_an_inner_rollback_leaves_the_outer_work(client: DjangoXBlockUserStateClient) -> None:
    with transaction.atomic():
        client.set("ann", BLOCK, {"outer": 1})
        with suppress(Undo), transaction.atomic():
            client.set("ann", BLOCK, {"inner": 1})
            client.set("ann", make_block("never-seen"), {"inner": 1})
            raise Undo
        client.set("ann", BLOCK, {"after": 1})
        client.set("ann", make_block("never-seen"), {"after": 1})
    found = client.get_many("ann", [BLOCK, make_block("never-seen")])
    assert [item.state for item in found] == [{"outer": 1, "after": 1}, {"after": 1}]
    assert_history_is_gapless()


def test_bad_input_leaves_the_transaction_usable(client: DjangoXBlockUserStateClient) -> None:
    with transaction.atomic():
        client.set("ann", BLOCK, {"before": 1})
        with pytest.raises(TypeError):
            client.set("ann", BLOCK, {"bad": object()})
        with pytest.raises(ValueError, match="scope"):
            client.set("ann", BLOCK, {"bad": 1}, Scope.settings)
        with pytest.raises(UserDoesNotExist):
            client.set("nobody", BLOCK, {"bad": 1})
        with pytest.raises(PermissionDenied):
            client.set("", BLOCK, {"bad": 1})
        client.set("ann", BLOCK, {"after": 1})
    assert client.get("ann", BLOCK).state == {"before": 1, "after": 1}


def test_an_error_of_the_database_leaves_the_transaction_usable(client: DjangoXBlockUserStateClient) -> None:
    other = make_block("other")
    client.set("ann", BLOCK, {"a": 1})
    client.set("ann", other, {"a": 1})
    with refusing("INSERT", StudentModuleHistory, f"NEW.block_id = {identify_block(BLOCK).id}"):
        with transaction.atomic():
            User.objects.create(username="cid")
            with pytest.raises(Error, match="refused by the test"):
                client.set_many("ann", {BLOCK: {"a": 2}, other: {"a": 2}})
            client.set("ann", other, {"b": 3})
        assert [found.state for found in client.get_many("ann", [BLOCK, other])] == [{"a": 1}, {"a": 1, "b": 3}]
    assert User.objects.filter(username="cid").exists()
    assert_history_is_gapless()


def test_a_request_that_fails_keeps_nothing_and_the_next_one_works(client: DjangoXBlockUserStateClient) -> None:
    """As with ATOMIC_REQUESTS: a handler writes and catches an error, and the view fails at the end."""
    with suppress(Undo), transaction.atomic():
        client.set("ann", BLOCK, {"a": 1})
        with transaction.atomic():
            client.set_score("ann", BLOCK, 1, 1)
        with suppress(Undo), client.batch("ann") as batch:
            batch.set(BLOCK, {"b": 1})
            raise Undo
        raise Undo
    assert list(client.get_many("ann", [BLOCK])) == []
    with transaction.atomic():
        client.set("ann", BLOCK, {"c": 1})
    assert client.get("ann", BLOCK).state == {"c": 1}
    assert_history_is_gapless()


def test_a_broken_transaction_stays_the_callers_error(client: DjangoXBlockUserStateClient) -> None:
    """A caller must not continue after it swallowed a database error; the client does not hide that."""
    client.set("ann", BLOCK, {"a": 1})
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(DatabaseError):
            client.set("ann", BLOCK, {"a": 2})
    assert client.get("ann", BLOCK).state == {"a": 1}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite, Django's savepoints need autocommit")
def test_with_autocommit_off_the_caller_commits(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    transaction.set_autocommit(False)
    try:
        client.set("ann", BLOCK, {"a": 2})
        connection.rollback()
        assert client.get("ann", BLOCK).state == {"a": 1}
        client.set("ann", BLOCK, {"a": 3})
        connection.commit()
    finally:
        connection.rollback()
        transaction.set_autocommit(True)
    assert client.get("ann", BLOCK).state == {"a": 3}
    assert_history_is_gapless()


def _take_back_and_write(client: DjangoXBlockUserStateClient, scope: Scope, name: str, value: int) -> bool:
    """Return whether the request was done. PostgreSQL ends some by a deadlock, because of the savepoint."""
    with suppress(ServiceUnavailable), transaction.atomic():
        client.get("ann", BLOCK, scope)
        with suppress(Undo), transaction.atomic():
            client.set("ann", BLOCK, {"lost": name}, scope)
            raise Undo
        client.set("ann", BLOCK, {name: value}, scope)
        return True
    return False


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
@pytest.mark.parametrize("scope", [Scope.user_state, Scope.user_state_summary])
def test_requests_that_take_back_a_part_lose_nothing_of_each_other(
    client: DjangoXBlockUserStateClient, scope: Scope
) -> None:
    """Each request writes the row again after a rollback to a savepoint, when another may have written it."""
    names, requests = ["a", "b", "c", "d"], 8
    client.set("ann", BLOCK, {"begun": True}, scope)

    def work(name: str) -> None:
        own = DjangoXBlockUserStateClient()
        try:
            for value in range(1, requests + 1):
                while not _take_back_and_write(own, scope, name, value):
                    connection.close_if_unusable_or_obsolete()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(work, names, timeout=120))
    found = DjangoXBlockUserStateClient().get("ann", BLOCK, scope)
    assert found.state == {"begun": True, **dict.fromkeys(names, requests)}
    assert found.revision == 1 + len(names) * requests
    assert_history_is_gapless()


SHARED = Scope.user_state_summary


@contextmanager
def _in_a_thread(action: Callable[[], object]) -> Iterator[None]:
    def run() -> None:
        try:
            action()
        finally:
            connections.close_all()

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
    assert not thread.is_alive()


def _swallow_a_deadlock(client: DjangoXBlockUserStateClient, scope: Scope) -> None:
    """Write, meet a deadlock, swallow it and write again, in one transaction.

    It is the victim on each vendor. MariaDB chooses the transaction with less work. The last one to wait looks for a
    deadlock on PostgreSQL, after a second. The coordinator of Citus, which looks too, chooses the youngest transaction.
    """
    other, is_locked, has_written = make_block("other"), Event(), Event()

    def of_another_process() -> None:
        with suppress(ServiceUnavailable), transaction.atomic():
            User.objects.bulk_create(User(username=f"bulk{number}") for number in range(200))
            DjangoXBlockUserStateClient().set("ann", other, {"b": 2}, scope)
            has_written.set()
            is_locked.wait(30)
            DjangoXBlockUserStateClient().set("ann", BLOCK, {"b": 2}, scope)

    with _in_a_thread(of_another_process):
        assert has_written.wait(30)
        with transaction.atomic():
            User.objects.create(username="before")
            client.set("ann", BLOCK, {"a": 1}, scope)
            is_locked.set()
            # Until the other one has looked.
            time.sleep(2)
            with pytest.raises(ServiceUnavailable):
                client.set("ann", other, {"a": 1}, scope)
            User.objects.create(username="after")


@needs_a_server
@pytest.mark.parametrize("scope", [Scope.user_state, SHARED])
def test_a_deadlock_that_a_caller_swallows_commits_no_half(client: DjangoXBlockUserStateClient, scope: Scope) -> None:
    for key in (BLOCK, make_block("other")):
        client.set("ann", key, {"a": 0}, scope)
    # A deadlock rolls back a whole transaction of MariaDB, and only a savepoint's of PostgreSQL.
    is_lost = connection.vendor == "mysql"
    with pytest.raises(TransactionManagementError) if is_lost else nullcontext():
        _swallow_a_deadlock(client, scope)
    found = set(User.objects.filter(username__in=["before", "after"]).values_list("username", flat=True))
    assert found == (set() if is_lost else {"before", "after"})
    state = client.get("ann", BLOCK, scope).state
    assert state is not None
    assert state["a"] == (0 if is_lost else 1)
    assert_history_is_gapless()


def _swallow_an_error(client: DjangoXBlockUserStateClient) -> None:
    with transaction.atomic():
        User.objects.create(username="before")
        with suppress(Error):
            client.set("ann", BLOCK, {"a": 1}, SHARED)
        User.objects.create(username="after")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has an error that rolls back a transaction")
def test_an_error_that_rolls_back_a_callers_transaction_commits_no_half(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 0}, SHARED)
    with refusing("UPDATE", UserStateSummary, "1"), connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse")
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE UPDATE ON {UserStateSummary._meta.db_table} "
            "BEGIN SELECT RAISE(ROLLBACK, 'refused by the test'); END"
        )
        with pytest.raises(TransactionManagementError):
            _swallow_an_error(client)
    assert not User.objects.filter(username__in=["before", "after"]).exists()


@needs_a_server
@pytest.mark.parametrize("by_hand", [False, True], ids=["atomic", "autocommit off"])
def test_a_lock_timeout_leaves_the_transaction_usable(client: DjangoXBlockUserStateClient, by_hand: bool) -> None:
    other = make_block("other")
    for key in (BLOCK, other):
        client.set("ann", key, {"a": 0}, SHARED)
    is_mysql = connection.vendor == "mysql"
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {'innodb_lock_wait_timeout = 1' if is_mysql else 'lock_timeout = 1000'}")
    with second_connection() as blocker, blocker.cursor() as cursor, _transaction(by_hand=by_hand):
        client.set("ann", BLOCK, {"a": 1}, SHARED)
        blocker.set_autocommit(False)
        cursor.execute(
            f"SELECT 1 FROM {UserStateSummary._meta.db_table} WHERE block_id = %s FOR UPDATE",  # noqa: S608
            [identify_block(other).id],
        )
        with pytest.raises(ServiceUnavailable):
            client.set("ann", other, {"a": 1}, SHARED)
        blocker.rollback()
        client.set("ann", other, {"a": 2}, SHARED)
    connection.close()
    assert [found.state for found in client.get_many("ann", [BLOCK, other], SHARED)] == [{"a": 1}, {"a": 2}]


@contextmanager
def _transaction(*, by_hand: bool) -> Iterator[None]:
    if not by_hand:
        with transaction.atomic():
            yield
        return
    transaction.set_autocommit(False)
    try:
        yield
        connection.commit()
    finally:
        connection.rollback()
        transaction.set_autocommit(True)

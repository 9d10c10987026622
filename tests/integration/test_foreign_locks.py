"""Statements on a list of composite keys touch the rows that they name, and wait for no lock on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.interference import needs_a_server, second_connection
from tests.relaying import ship_any
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import Key, all_rows, of_keys, take_write_lock
from xblock_user_state.history.outbox.shipping import ship
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.models import BaseStudentModuleHistory, HistoryOutbox, StudentModule, StudentModuleHistory
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()
# Enough for a planner to prefer an index to a scan.
NAMES = [f"learner{number:02}" for number in range(40)]


def _ship() -> int:
    return ship_any(1)


def _move() -> int:
    return next(iter(Backfill("default", 1, remove_source=True).pages())).removed


CASES = [(HistoryOutbox, True, _ship), (StudentModuleHistory, False, _move)]


@pytest.fixture
def _impatient() -> Iterator[None]:
    """A statement that waits for a lock fails after a second."""
    name = "lock_timeout" if connection.vendor == "postgresql" else "innodb_lock_wait_timeout"
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {name} = {1000 if connection.vendor == 'postgresql' else 1}")
    yield
    connection.close()


@needs_a_server
@pytest.mark.extended_history
@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(("model", "extended", "act"), CASES, ids=["relay", "back-fill"])
def test_one_row_is_moved_while_the_others_are_locked(
    settings: Settings, model: type[BaseStudentModuleHistory], extended: bool, act: Callable[[], int]
) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": extended, "SHIP_HISTORY": "by_relay"}
    first, *others = make_learners(*NAMES)
    for name in NAMES:
        DjangoXBlockUserStateClient().set(name, BLOCK, {"of": name})
    table = connection.ops.quote_name(model._meta.db_table)
    with second_connection() as other:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            # One by one, by their keys: a range would lock the gaps between them too.
            for user in others:
                cursor.execute(f"SELECT 1 FROM {table} WHERE student_id = %s FOR UPDATE", [user.pk])  # noqa: S608
        assert act() == 1
        other.rollback()
    assert model._base_manager.count() == len(others)
    assert not model._base_manager.filter(student_id=first.pk).exists()


@needs_a_server
@pytest.mark.usefixtures("_impatient")
def test_a_locking_call_waits_for_none_of_the_learners_other_blocks() -> None:
    """MariaDB takes a learner for a few rows, and without a hint it reads and locks all of them."""
    blocks, client = make_blocks(20), DjangoXBlockUserStateClient()
    ann, _ = make_learners("ann", "bob")
    for name in ("ann", "bob"):
        client.set_many(name, {block: {"answer": 0} for block in blocks})
    if connection.vendor == "mysql":
        # As a site's server does by itself: without figures of the table it goes to each key.
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE TABLE {StudentModule._meta.db_table}")
    with second_connection() as other:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(
                f"SELECT 1 FROM {StudentModule._meta.db_table} WHERE student_id = %s AND block_id = %s FOR UPDATE",  # noqa: S608
                [ann.pk, identify_block(blocks[-1]).id],
            )
        # Nothing changes, so the client asks whether its cached rows are still true, and must not read an old copy.
        with CaptureQueriesContext(connection) as queries:
            client.set_many("ann", {block: {"answer": 0} for block in blocks[:2]})
        other.rollback()
    assert [query["sql"].endswith("FOR UPDATE") for query in queries] == [True]


@needs_a_server
@pytest.mark.extended_history
@pytest.mark.usefixtures("_impatient")
def test_a_small_outbox_is_not_scanned(settings: Settings) -> None:
    """MariaDB scans a table if a list of keys names most of its rows."""
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    ann, bob = make_learners("ann", "bob")
    for name in ("ann", "bob"):
        DjangoXBlockUserStateClient().set_many(name, {block: {"of": name} for block in make_blocks(10)})
    table = connection.ops.quote_name(HistoryOutbox._meta.db_table)
    with second_connection() as other:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {table} WHERE student_id = %s FOR UPDATE", [ann.pk])  # noqa: S608
        assert ship("default", Q(student_id=bob.pk), 100).rows == 10
        other.rollback()
    assert set(HistoryOutbox.objects.values_list("student_id", flat=True)) == {ann.pk}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has a lock for all writers")
@pytest.mark.parametrize("which", [Q(), Q(student_id=1)], ids=["all learners", "one learner"])
def test_a_deferred_transaction_takes_the_write_lock(monkeypatch: pytest.MonkeyPatch, which: Q) -> None:
    monkeypatch.setattr(connections["default"], "transaction_mode", "DEFERRED")
    with second_connection() as other, other.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 100")
        with transaction.atomic():
            take_write_lock("default", which=which)
            with pytest.raises(OperationalError, match="locked"):
                cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("ROLLBACK")


def test_each_list_of_keys_names_its_learners() -> None:
    keys = [Key(student, 5, 1) for student in (1, 2)]
    learner = connection.ops.quote_name("student_id")
    assert f"{learner} IN (1, 2)" in str(of_keys(all_rows(HistoryOutbox, "default"), keys).query)

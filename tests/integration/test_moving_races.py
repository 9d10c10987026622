"""Moves of state while learners write, while history is shipped, moved and swept, and while a learner is deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import count
from threading import Event, Thread
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections
from opaque_keys.edx.keys import UsageKey
from pytest_django import Settings

from tests.acceptance.waiting import wait_until
from tests.factories import BY, make_block, make_learners
from tests.integration.interference import just_after, just_before, on_another_connection, second_connection
from tests.relaying import ship_all, ship_any
from xblock_user_state.actions import Moved, Skipped, move_state
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.interface import DoesNotExist
from xblock_user_state.maintenance import moved_history, moving
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.maintenance.moving import HAS_STATE
from xblock_user_state.models import HistoryOutbox, StudentModule, StudentModuleHistory
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

SITES: dict[str, dict[str, Any]] = {
    "default": {},
    "at once": {"EXTENDED_HISTORY": True},
    "by relay": {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"},
}
OLD, NEW = make_block("old"), make_block("new")
NAMES = [f"learner{number}" for number in range(6)]
WRITES = 25

needs_row_locks = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.extended_history if SITES[name] else ()) for name in SITES]
)
def site(request: pytest.FixtureRequest, settings: Settings) -> str:
    """Name of a site that keeps its history in one of the stores."""
    settings.XBLOCK_USER_STATE = SITES[request.param]
    return str(request.param)


@pytest.fixture
def learners() -> list[User]:
    return make_learners("ann", "bob", "cid")


def write(name: str, key: UsageKey, *values: object) -> None:
    for value in values:
        DjangoXBlockUserStateClient().set(name, key, {"value": value})


def values_at(name: str, key: UsageKey) -> list[Any]:
    """Return the values in the history of a learner, newest first."""
    try:
        return [(entry.state or {})["value"] for entry in DjangoXBlockUserStateClient().get_history(name, key)]
    except DoesNotExist:
        return []


def check_history() -> None:
    call_command("check_history", stdout=StringIO())


def finish(site: str) -> None:
    if SITES[site]:
        ship_all()
    check_history()


@contextmanager
def waiting_thread(work: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Yield a function that starts `work` in a thread, and asserts that it waits. After the block it must end."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (raised again below)
            errors.append(error)
        finally:
            connections.close_all()

    thread = Thread(target=run)

    def start() -> None:
        thread.start()
        thread.join(0.5)
        assert thread.is_alive(), f"it did not wait: {errors}"

    yield start
    thread.join(60)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def write_without_end(name: str, stop: Event, acknowledged: list[str]) -> None:
    """Write to the old and to the new block in turns, now and then by a client that remembers its rows."""
    client = DjangoXBlockUserStateClient()
    try:
        for number in count():
            if stop.is_set() and number >= WRITES:
                return
            if number % 7 == 0:
                client = DjangoXBlockUserStateClient()
            # Half of the learners stay with the old block, so that some have no state in the new one.
            key = NEW if number % 5 == 4 and name in NAMES[::2] else OLD
            client.set(name, key, {"value": f"{name} {number}"})
            acknowledged.append(f"{name} {number}")
            # SQLite's lock has no queue: writers that never pause can starve another until it gives up.
            time.sleep(0.005)
    finally:
        connections.close_all()


def test_no_write_is_lost_or_doubled_while_others_write(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PAGE", 2)
    monkeypatch.setattr(moved_history, "ENTRIES", 3)
    make_learners(*NAMES)
    stop = Event()
    acknowledged: dict[str, list[str]] = {name: [] for name in NAMES}
    threads = [Thread(target=write_without_end, args=(name, stop, acknowledged[name])) for name in NAMES]
    for thread in threads:
        thread.start()
    # On a busy machine all moves may be over before the first write.
    wait_until(lambda: all(acknowledged.values()))
    moved = 0
    for number in range(8):
        # There and back: each learner moves when the other key is free.
        old, new = (OLD, NEW) if number % 2 == 0 else (NEW, OLD)
        moved += move_state(old, new, **BY).states
    stop.set()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    finish(site)
    for name, written in acknowledged.items():
        assert sorted(values_at(name, OLD) + values_at(name, NEW)) == sorted(written)
    assert moved > 0


@needs_row_locks
def test_a_state_that_begins_under_the_new_key_meanwhile_is_not_overwritten(learners: list[User], site: str) -> None:
    for name in ("ann", "bob", "cid"):
        write(name, OLD, 1, 2)
    with just_before("UPDATE", StudentModule, lambda: on_another_connection(lambda: write("bob", NEW, "own"))):
        result = move_state(OLD, NEW, **BY)
    assert result == Moved(2, 0, 1, (Skipped("bob", OLD, NEW, HAS_STATE),))
    finish(site)
    assert values_at("bob", NEW) == ["own"]
    assert values_at("bob", OLD) == values_at("ann", NEW) == [2, 1]


@needs_row_locks
@pytest.mark.parametrize("key", [OLD, NEW])
def test_a_writer_waits_for_the_page(learners: list[User], site: str, key: UsageKey) -> None:
    """A writer of the old block begins it anew; a writer of the new block goes on with the state that has moved."""
    write("ann", OLD, 1, 2)
    with (
        waiting_thread(lambda: write("ann", key, 3)) as begin_to_write,
        just_after("UPDATE", StudentModule, begin_to_write),
    ):
        assert move_state(OLD, NEW, **BY) == Moved(1, 0, 0, ())
    finish(site)
    expected = {OLD: ([3], [2, 1]), NEW: ([], [3, 2, 1])}
    assert (values_at("ann", OLD), values_at("ann", NEW)) == expected[key]


@needs_row_locks
def test_a_write_before_the_lock_moves_along(learners: list[User], site: str) -> None:
    write("ann", OLD, 1, 2)
    with just_after("SELECT", StudentModule, lambda: on_another_connection(lambda: write("ann", OLD, 3))):
        assert move_state(OLD, NEW, **BY) == Moved(1, 0, 0, ())
    finish(site)
    assert (values_at("ann", OLD), values_at("ann", NEW)) == ([], [3, 2, 1])


@needs_row_locks
@pytest.mark.extended_history
def test_a_move_waits_for_a_shipment_that_is_half_done(learners: list[User], settings: Settings) -> None:
    """The history database has committed the entries, and the outbox still has them."""
    settings.XBLOCK_USER_STATE = SITES["by relay"]
    write("ann", OLD, 1, 2, 3)
    with (
        waiting_thread(lambda: move_state(OLD, NEW, **BY)) as begin_to_move,
        just_before("DELETE", HistoryOutbox, begin_to_move),
    ):
        assert ship_any() == 3
    assert values_at("ann", NEW) == [3, 2, 1]
    finish("by relay")
    assert (values_at("ann", OLD), values_at("ann", NEW)) == ([], [3, 2, 1])


@needs_row_locks
@pytest.mark.extended_history
def test_a_move_waits_for_the_shipment_of_a_tombstone(learners: list[User], settings: Settings) -> None:
    """The old block was deleted and begun anew; the relay ships both, when the move begins."""
    settings.XBLOCK_USER_STATE = SITES["by relay"]
    write("ann", OLD, "gone", "gone too")
    ship_all()
    StudentModule.objects.all().delete()
    write("ann", OLD, "new life")
    with (
        waiting_thread(lambda: move_state(OLD, NEW, **BY)) as begin_to_move,
        just_before("DELETE", HistoryOutbox, begin_to_move),
    ):
        assert ship_any() == 2
    assert values_at("ann", NEW) == ["new life"]
    finish("by relay")
    assert (values_at("ann", OLD), values_at("ann", NEW)) == ([], ["new life"])


def back_fill() -> None:
    for _ in Backfill("default", 2, remove_source=True).pages():
        pass


@needs_row_locks
@pytest.mark.extended_history
def test_a_move_waits_for_a_back_fill_that_is_half_done(learners: list[User], settings: Settings) -> None:
    write("ann", OLD, 1, 2)
    write("bob", OLD, 1, 2)
    settings.XBLOCK_USER_STATE = SITES["by relay"]
    write("ann", OLD, 3)
    with (
        waiting_thread(lambda: move_state(OLD, NEW, **BY)) as begin_to_move,
        just_before("DELETE", StudentModuleHistory, begin_to_move),
    ):
        back_fill()
    assert (values_at("ann", NEW), values_at("bob", NEW)) == ([3, 2, 1], [2, 1])
    finish("by relay")
    assert (values_at("ann", NEW), values_at("bob", NEW)) == ([3, 2, 1], [2, 1])
    back_fill()
    assert (values_at("ann", NEW), values_at("ann", OLD)) == ([3, 2, 1], [])
    check_history()


@needs_row_locks
@pytest.mark.extended_history
def test_a_back_fill_waits_for_a_move_that_is_half_done(learners: list[User], settings: Settings) -> None:
    write("ann", OLD, 1, 2)
    settings.XBLOCK_USER_STATE = SITES["by relay"]
    write("ann", OLD, 3)
    with (
        waiting_thread(back_fill) as begin_to_fill,
        just_after("UPDATE", StudentModuleHistory, begin_to_fill),
    ):
        assert move_state(OLD, NEW, **BY) == Moved(1, 0, 0, ())
    assert values_at("ann", NEW) == [3, 2, 1]
    finish("by relay")
    back_fill()
    assert values_at("ann", NEW) == [3, 2, 1]
    assert not StudentModuleHistory.objects.exists()
    check_history()


@needs_row_locks
@pytest.mark.extended_history
def test_a_relay_and_a_sweep_pass_by_a_move_that_is_half_done(learners: list[User], settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = SITES["by relay"]
    write("ann", OLD, 1, 2)
    ship_all()
    write("ann", OLD, 3)

    def pass_by() -> None:
        ship_any()
        call_command("sweep_history", stdout=StringIO())

    with just_after("UPDATE", HistoryOutbox, lambda: on_another_connection(pass_by)):
        assert move_state(OLD, NEW, **BY) == Moved(1, 0, 0, ())
    assert values_at("ann", NEW) == [3, 2, 1]
    finish("by relay")
    assert (values_at("ann", OLD), values_at("ann", NEW)) == ([], [3, 2, 1])


@needs_row_locks
@pytest.mark.extended_history
def test_a_sweep_removes_nothing_that_moves_while_it_looks(learners: list[User], settings: Settings) -> None:
    """The sweep has read entries under the old key before the move, and looks for their row after it."""
    settings.XBLOCK_USER_STATE = SITES["by relay"]
    write("ann", OLD, 1, 2)
    ship_all()
    with just_before("SELECT", StudentModule, lambda: on_another_connection(lambda: move_state(OLD, NEW, **BY))):
        call_command("sweep_history", stdout=StringIO())
    finish("by relay")
    assert (values_at("ann", OLD), values_at("ann", NEW)) == ([], [2, 1])
    assert extended_model()._base_manager.using("student_module_history").count() == 2


@needs_row_locks
def test_a_learner_who_is_deleted_meanwhile_leaves_nothing(learners: list[User], site: str) -> None:
    write("ann", OLD, 1, 2)
    write("bob", OLD, 1)
    ann = learners[0].pk
    with (
        waiting_thread(lambda: User.objects.get(username="ann").delete()) as begin_to_delete,
        just_after("UPDATE", StudentModule, begin_to_delete),
    ):
        move_state(OLD, NEW, **BY)
    finish(site)
    assert values_at("bob", NEW) == [1]
    models = [(StudentModule, "default"), (HistoryOutbox, "default"), (StudentModuleHistory, "default")]
    if SITES[site]:
        models.append((extended_model(), "student_module_history"))
    for model, alias in models:
        assert not model._base_manager.using(alias).filter(student_id=ann).exists()


@needs_row_locks
def test_two_moves_at_once_move_each_state_once(learners: list[User], site: str) -> None:
    for name in ("ann", "bob", "cid"):
        write(name, OLD, 1, 2)
    result: list[Moved] = []
    with (
        waiting_thread(lambda: result.append(move_state(OLD, NEW, **BY))) as begin_to_move,
        just_after("UPDATE", StudentModule, begin_to_move),
    ):
        result.append(move_state(OLD, NEW, **BY))
    finish(site)
    assert sorted(one.states for one in result) == [0, 3]
    assert [values_at(name, NEW) for name in ("ann", "bob", "cid")] == [[2, 1]] * 3
    assert StudentModule.objects.filter(block_id=identify_block(NEW).id).count() == 3


@needs_row_locks
def test_a_move_waits_for_no_row_of_another_block(site: str) -> None:
    names = [f"learner{number:02}" for number in range(40)]
    other = make_block("other")
    for user in make_learners(*names):
        DjangoXBlockUserStateClient(user).set_many(user.username, {key: {"value": 1} for key in (OLD, other)})
    timeout = "lock_timeout = 2000" if connection.vendor == "postgresql" else "innodb_lock_wait_timeout = 2"
    tables = [model._meta.db_table for model in (StudentModule, StudentModuleHistory, HistoryOutbox)]
    with second_connection() as holder:
        holder.set_autocommit(False)
        with holder.cursor() as cursor, connection.cursor() as own:
            own.execute(f"SET SESSION {timeout}")
            # One by one, by their keys: a range would lock the gaps between them too.
            for table in tables:
                for student_id in User.objects.values_list("pk", flat=True):
                    cursor.execute(
                        f"SELECT 1 FROM {table} WHERE student_id = %s AND block_id = %s FOR UPDATE",  # noqa: S608
                        [student_id, identify_block(other).id],
                    )
        assert move_state(OLD, NEW, **BY).states == 40
        holder.rollback()
    connection.close()
    finish(site)
    assert [values_at(name, key) for name in names for key in (other, NEW)] == [[1]] * 80

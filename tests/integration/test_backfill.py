"""Moving the default history to the extended one: all entries, once, unchanged, under interference too."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.db.models import QuerySet
from django.db.utils import OperationalError
from opaque_keys.edx.keys import UsageKey

from tests.factories import make_block, make_blocks, make_learners
from tests.relaying import ship_all
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import Key, extended_model
from xblock_user_state.maintenance.backfill import Backfill, EntriesDiffer
from xblock_user_state.maintenance.checkpoint import BadCheckpoint, Checkpoint
from xblock_user_state.models import BaseStudentModuleHistory, HistoryOutbox, StudentModule, StudentModuleHistory

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", "student_module_history"]),
]

COMMAND = "backfill_extended_history"
HISTORY = "student_module_history"


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann", "ben", "cyd")
    return DjangoXBlockUserStateClient()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Runs the command, and returns its output."""

    def run(**options: Any) -> str:
        output = io.StringIO()
        call_command(COMMAND, stdout=output, **{"state_file": tmp_path / "position.json", **options})
        return output.getvalue()

    return run


def write_history(client: DjangoXBlockUserStateClient, revisions: int = 12) -> dict[tuple[str, UsageKey], list[Any]]:
    """Write a history of three learners in three blocks, and return it."""
    for revision in range(revisions):
        for name in ("ann", "ben", "cyd"):
            client.set_many(name, {block: {"attempts": revision, "by": name} for block in make_blocks(3)})
            client.set_score(name, make_block("block1"), revision, 100)
    return everything(client)


def everything(client: DjangoXBlockUserStateClient) -> dict[tuple[str, UsageKey], list[Any]]:
    found = {}
    for name in ("ann", "ben", "cyd"):
        for block in make_blocks(3):
            found[name, block] = list(client.get_history(name, block))
    return found


def extended_rows() -> QuerySet[BaseStudentModuleHistory]:
    return extended_model()._base_manager.using(HISTORY)


def rows_of(entries: QuerySet[Any]) -> list[tuple[Any, ...]]:
    columns = [field.attname for field in StudentModuleHistory._meta.concrete_fields]
    rows = entries.order_by("student_id", "block_id", "revision").values_list(*columns)
    return [tuple(bytes(value) if isinstance(value, memoryview) else value for value in row) for row in rows]


@pytest.mark.parametrize("encoding", ["delta", "plain"])
def test_copies_are_the_same_in_every_column(settings: Any, client: Any, run: Any, encoding: str) -> None:
    settings.XBLOCK_USER_STATE = {"HISTORY_ENCODING": encoding}
    before = write_history(client)
    rows = rows_of(StudentModuleHistory.objects.all())

    printed = run(batch=7)

    assert rows_of(StudentModuleHistory.objects.all()) == rows_of(extended_rows()) == rows
    assert f"{len(rows)} entries are in the extended history; {len(rows)} of them are new" in printed
    assert everything(client) == before


def test_a_second_run_copies_nothing_and_compares_everything(client: Any, run: Any) -> None:
    write_history(client)
    run(batch=7)
    assert "144 entries are in the extended history; 0 of them are new" in run(batch=50)


def test_remove_source_moves_all_there_is(client: Any, run: Any) -> None:
    before = write_history(client)
    rows = rows_of(StudentModuleHistory.objects.all())
    run(batch=11)

    assert "144 entries were removed from the default history" in run(batch=11, remove_source=True)

    assert rows_of(StudentModuleHistory.objects.all()) == []
    assert rows_of(extended_rows()) == rows
    assert everything(client) == before


def test_remove_source_copies_first_what_is_not_there_yet(client: Any, run: Any) -> None:
    before = write_history(client)
    run(remove_source=True)
    assert not StudentModuleHistory.objects.exists()
    assert everything(client) == before


def test_new_deltas_build_on_entries_that_have_moved(settings: Any, client: Any, run: Any) -> None:
    write_history(client, revisions=3)
    run(remove_source=True)
    for both in (True, False):
        settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": not both, "READ_MULTIPLE_HISTORIES": both}
        client.set("ann", make_block("block0"), {"both": both})
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True}
    states = [entry.state for entry in client.get_history("ann", make_block("block0"))]
    assert [state.get("both") for state in states] == [False, True, None, None, None]


def test_entries_written_behind_the_position_come_with_the_next_run(client: Any, run: Any) -> None:
    write_history(client, revisions=2)
    run()
    client.set("ann", make_block("block0"), {"late": True})
    assert "1 of them are new" in run()
    client.set("ann", make_block("block0"), {"late": False})
    run(remove_source=True)
    assert not StudentModuleHistory.objects.exists()
    assert len(list(client.get_history("ann", make_block("block0")))) == 4


def test_a_difference_stops_and_names_the_rows(client: Any, run: Any) -> None:
    write_history(client)
    run()
    entry = extended_rows().latest("revision")
    extended_rows().filter(pk=entry.pk).update(grade=99)
    named = f"learner {entry.student_id}, block {entry.block_id}, revision {entry.revision}"
    for options in ({}, {"remove_source": True}):
        with pytest.raises(CommandError, match=f"differ.*: {named}$") as raised:
            run(batch=1000, **options)
        assert raised.value.returncode == 1
    assert StudentModuleHistory.objects.count() == 144


@pytest.mark.parametrize("column", [field.attname for field in StudentModuleHistory._meta.concrete_fields][3:])
def test_a_difference_in_any_column_is_seen(client: Any, column: str) -> None:
    client.set("ann", make_block(), {"answer": "A"})
    list(Backfill("default", 10).pages())
    other = {"created": "2001-01-01T00:00:00+00:00", "encoding": 7, "body": b"x", "version": "v"}.get(column, 7)
    extended_rows().update(**{column: other})
    with pytest.raises(EntriesDiffer):
        list(Backfill("default", 10, remove_source=True).pages())
    assert StudentModuleHistory.objects.count() == 1


def test_a_damaged_entry_is_moved_as_it_is(client: Any, run: Any) -> None:
    client.set("ann", make_block(), {"answer": "A"})
    StudentModuleHistory._base_manager.update(body=b"\x00broken\xff", version="v1")
    rows = rows_of(StudentModuleHistory.objects.all())
    run(remove_source=True)
    assert rows_of(extended_rows()) == rows


def test_it_goes_on_where_it_was_interrupted(client: Any, tmp_path: Path, run: Any) -> None:
    write_history(client)
    position = Checkpoint(tmp_path / "position.json", "default", HISTORY)
    with interrupted_after(2), pytest.raises(CommandError, match="interrupted: "):
        run(batch=30)
    assert extended_rows().count() == 60

    printed = run()

    assert "going on after learner" in printed
    assert "144 entries are in the extended history; 144 of them are new" in printed
    assert rows_of(extended_rows()) == rows_of(StudentModuleHistory.objects.all())
    assert not position.path.exists()


@contextmanager
def interrupted_after(pages: int) -> Iterator[None]:
    """Have the history database refuse the entries of the next page after so many."""
    done = []

    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT"):
            done.append(sql)
        if len(done) > pages:
            raise OperationalError("the server shuts down")
        return execute(sql, params, many, context)

    with connections[HISTORY].execute_wrapper(wrapper):
        yield


def test_the_progress_of_a_second_run_goes_on_where_the_first_ended(client: Any, tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    write_history(client)
    options = {"state_file": tmp_path / "position.json", "batch": 100}
    with interrupted_after(1), pytest.raises(CommandError, match="interrupted: "):
        call_command(COMMAND, stdout=Terminal(), **options)
    terminal = Terminal()
    call_command(COMMAND, stdout=terminal, **options)
    assert "100%  144 of 144 entries" in terminal.getvalue()


@pytest.mark.parametrize("place", ["missing/position.json", "."])
def test_a_state_file_that_can_not_be_written_is_an_error_before_anything_is_copied(
    client: Any, tmp_path: Path, run: Any, place: str
) -> None:
    write_history(client, revisions=1)
    with pytest.raises(CommandError, match=r"nothing was copied: .*Create its folder, or name another file") as raised:
        run(state_file=tmp_path / place)
    assert "goes on from there" not in str(raised.value)
    assert not extended_rows().exists()


def test_a_position_of_other_databases_is_refused(client: Any, tmp_path: Path, run: Any) -> None:
    client.set("ann", make_block(), {"answer": "A"})
    Checkpoint(tmp_path / "position.json", HISTORY, "default").write(None, {})
    with pytest.raises(CommandError, match="belongs to a back-fill of"):
        run()


def test_a_file_that_is_no_position_is_refused(tmp_path: Path) -> None:
    (tmp_path / "position.json").write_text("[]")
    with pytest.raises(BadCheckpoint, match="holds no position"):
        Checkpoint(tmp_path / "position.json", "default", HISTORY).read()


def test_two_at_once_double_nothing(client: Any) -> None:
    write_history(client)
    rows = rows_of(StudentModuleHistory.objects.all())
    first, second = Backfill("default", 10).pages(), Backfill("default", 13, remove_source=True).pages()
    for _ in range(20):
        next(first, None)
        next(second, None)
    assert rows_of(extended_rows()) == rows
    assert not StudentModuleHistory.objects.exists()


def test_what_is_deleted_for_good_while_it_is_copied_stays_deleted(settings: Any, client: Any) -> None:
    write_history(client)
    deleted = threading.Event()

    def delete() -> None:
        StudentModule.objects.filter(student__username="ann").delete()
        deleted.set()
        connections.close_all()

    with transaction.atomic():
        Backfill("default", 1000)._page([Key(*entry.pk) for entry in StudentModuleHistory.objects.all()])
        thread = threading.Thread(target=delete)
        thread.start()
        assert not deleted.wait(0.5)
    thread.join()
    ship_all()
    assert extended_rows().count() == 96


def test_rows_that_a_deletion_has_locked_are_awaited(client: Any) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite locks no rows: the second writer waits for the first")
    write_history(client)
    ann = get_user_model().objects.get(username="ann").pk
    locked, release = threading.Event(), threading.Event()

    def delete_and_change_our_mind() -> None:
        with transaction.atomic():
            StudentModule.objects.filter(student_id=ann).delete()
            locked.set()
            release.wait(10)
            transaction.set_rollback(True)
        connections.close_all()

    thread = threading.Thread(target=delete_and_change_our_mind)
    thread.start()
    locked.wait(10)
    threading.Timer(0.5, release.set).start()
    started = time.monotonic()
    (page,) = Backfill("default", 1000).pages()
    thread.join()
    assert time.monotonic() - started > 0.3
    assert page.compared == 144
    assert extended_rows().count() == 144


@pytest.fixture
def pending_tombstone(settings: Any, client: Any) -> None:
    """Ann's old history is deleted, its tombstone still in the outbox; her new entries are in the default history."""
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    client.set("ann", make_block(), {"life": "old"})
    ship_all()
    StudentModule.objects.all().delete()
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": False, "SHIP_HISTORY": "by_relay"}
    client.set("ann", make_block(), {"life": "new"})
    client.set("ben", make_block(), {"life": "other"})


@pytest.mark.usefixtures("pending_tombstone")
def test_entries_wait_for_the_tombstone_that_would_take_them(client: Any, run: Any) -> None:
    printed = run(remove_source=True)

    assert "1 entries were removed" in printed
    assert "1 entries wait for a deletion" in printed
    assert [entry.state for entry in client.get_history("ann", make_block())] == [{"life": "new"}]
    ship_all()
    assert [entry.state for entry in client.get_history("ann", make_block())] == [{"life": "new"}]
    run(remove_source=True)
    assert not StudentModuleHistory.objects.exists()
    assert not HistoryOutbox.objects.exists()
    assert [entry.state for entry in client.get_history("ann", make_block())] == [{"life": "new"}]


def test_nothing_is_removed_that_nobody_would_read_then(settings: Any, client: Any, run: Any) -> None:
    write_history(client, revisions=1)
    settings.XBLOCK_USER_STATE = {"READ_MULTIPLE_HISTORIES": False}
    with pytest.raises(CommandError, match="nobody reads the extended history"):
        run(remove_source=True)
    assert StudentModuleHistory.objects.count() == 12


def test_the_rate_is_kept(client: Any, run: Any) -> None:
    write_history(client, revisions=5)
    started = time.monotonic()
    run(rate=60, batch=1000)
    assert time.monotonic() - started > 0.9
    assert extended_rows().count() == 60


def test_large_pages_fit_the_statements_of_every_database(client: Any, run: Any) -> None:
    blocks = make_blocks(1500)
    client.set_many("ann", {block: {"text": "x" * 50} for block in blocks})
    run(batch=5000, remove_source=True)
    assert extended_rows().count() == 1500
    assert not StudentModuleHistory.objects.exists()


def test_an_extended_history_that_is_down_is_an_error_and_loses_nothing(settings: Any, client: Any, run: Any) -> None:
    write_history(client, revisions=1)
    with connections[HISTORY].schema_editor() as editor:
        editor.alter_db_table(extended_model(), extended_model()._meta.db_table, "elsewhere")
    try:
        with pytest.raises(CommandError, match="interrupted: "):
            run(remove_source=True)
    finally:
        with connections[HISTORY].schema_editor() as editor:
            editor.alter_db_table(extended_model(), "elsewhere", extended_model()._meta.db_table)
    assert StudentModuleHistory.objects.count() == 12
    run(remove_source=True)
    assert extended_rows().count() == 12

"""``manage.py sweep_history`` removes entries without a state, and never others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from pytest_django import Settings

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.histories import BLOCK, ESSAY, add_entries, add_entries_to_every_store, revisions
from tests.integration.interference import just_before, needs_a_server, on_another_connection
from tests.integration.outage import ALIAS, Outage
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from tests.integration.rows import shift_times
from tests.integration.statements import captured
from tests.relaying import ship_any
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.maintenance.paging import PAGE
from xblock_user_state.models import Block, HistoryOutbox, StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
TWO = pytest.mark.extended_history

EXTENDED = {"EXTENDED_HISTORY": True}
BY_RELAY = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
in_every_store = pytest.mark.parametrize(
    "flags",
    [{}, pytest.param(EXTENDED, marks=TWO), pytest.param(BY_RELAY, marks=TWO)],
    ids=["default", "extended", "outbox"],
)


@pytest.fixture
def client(settings: Settings) -> DjangoXBlockUserStateClient:
    settings.XBLOCK_USER_STATE = {}
    make_learners("ann", "bob")
    return DjangoXBlockUserStateClient()


def sweep(*arguments: str) -> str:
    output = StringIO()
    call_command("sweep_history", *arguments, stdout=output)
    return output.getvalue()


def repaired() -> str:
    output = StringIO()
    call_command("repair_history", stdout=output)
    return output.getvalue()


def orphan_lines(printed: str) -> list[str]:
    """Return the lines about stores that had any orphans."""
    return [line for line in printed.splitlines() if "entries belong to no state" in line and ": 0 " not in line]


def lose_rows(name: str = "ann") -> None:
    """Delete state past the ORM, as SQL does: the history stays."""
    StudentModule.objects.filter(student__username=name)._raw_delete("default")


def restore_backup(action: Callable[[], object]) -> None:
    """Run `action`, then restore the state's table from before it; the histories keep the new entries."""
    before = list(StudentModule.objects.all())
    action()
    StudentModule.objects.all()._raw_delete("default")
    StudentModule._base_manager.bulk_create(before)


def states(client: DjangoXBlockUserStateClient, name: str = "ann") -> list[Any]:
    return [(entry.state or {}).get("number") for entry in client.get_history(name, BLOCK)]


@in_every_store
def test_history_of_rows_that_are_gone(client: DjangoXBlockUserStateClient, settings: Settings, flags: Any) -> None:
    settings.XBLOCK_USER_STATE = flags
    add_entries(client, 3)
    add_entries(client, 2, "bob")
    [(store, _)] = revisions().items()
    lose_rows()

    printed = sweep()

    assert revisions() == {store: [1, 2]}
    assert states(client, "bob") == [1, 0]
    assert len(orphan_lines(printed)) == 1
    assert orphan_lines(printed)[0].endswith("3 entries belong to no state and were removed")
    named = [line for line in printed.splitlines() if line.startswith("learner ")]
    assert len(named) == 1
    assert "(ann)" in named[0]
    assert f"({BLOCK}): revisions 1 to 3 in the " in named[0]
    assert named[0].endswith(" belong to no state")
    assert not orphan_lines(sweep())


@TWO
def test_history_in_all_stores(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    add_entries_to_every_store(settings, client)
    add_entries_to_every_store(settings, client, "bob")
    sound = revisions()
    assert len(sound) == 3
    assert not orphan_lines(sweep())
    assert revisions() == sound
    lose_rows()

    printed = sweep("--batch", "5")

    assert {name: 2 * numbers for name, numbers in revisions().items()} == sound
    assert [line.split()[0] for line in orphan_lines(printed)] == ["outbox:", "default", "extended"]
    assert states(client, "bob") == list(range(23, -1, -1))


@in_every_store
def test_a_dry_run_removes_nothing(client: DjangoXBlockUserStateClient, settings: Settings, flags: Any) -> None:
    settings.XBLOCK_USER_STATE = flags
    add_entries(client, 30)
    before = revisions()
    lose_rows()
    printed = sweep("--dry-run", "--batch", "7")
    assert revisions() == before
    assert [line.partition(": ")[2] for line in orphan_lines(printed)] == [
        "30 entries belong to no state and would be removed"
    ]
    assert sum(line.startswith("learner ") for line in printed.splitlines()) == 3


@in_every_store
def test_entries_that_are_ahead_of_a_restored_row_are_learners_history(
    client: DjangoXBlockUserStateClient, settings: Settings, flags: Any
) -> None:
    settings.XBLOCK_USER_STATE = flags
    add_entries(client, 3)
    restore_backup(lambda: add_entries(client, 2, start=10))
    before = revisions()
    assert not orphan_lines(sweep())
    assert revisions() == before
    assert states(client) == [11, 10, 2, 1, 0]


@in_every_store
def test_times_make_no_orphans(client: DjangoXBlockUserStateClient, settings: Settings, flags: Any) -> None:
    """No time of an entry that has a row decides anything: not after, before, or at the row's creation."""
    settings.XBLOCK_USER_STATE = flags
    add_entries(client, 5)
    before = revisions()
    for change in (timedelta(days=1), timedelta(microseconds=500), -timedelta(days=2)):
        shift_times(StudentModule._base_manager.all(), "created", change)
        assert not orphan_lines(sweep())
    assert revisions() == before
    assert states(client) == [4, 3, 2, 1, 0]


@TWO
def test_a_history_that_was_moved_as_json(
    client: DjangoXBlockUserStateClient, settings: Settings, tmp_path: Path
) -> None:
    """Django's serializer of JSON keeps milliseconds only."""
    settings.XBLOCK_USER_STATE = EXTENDED
    add_entries(client, 5)
    before = list(client.get_history("ann", BLOCK))
    fixture = str(tmp_path / "history.json")
    call_command("dumpdata", "xblock_user_state_extended_history", database=ALIAS, output=fixture)
    extended_model()._base_manager.using(ALIAS)._raw_delete(ALIAS)
    call_command("loaddata", fixture, database=ALIAS, stdout=StringIO())
    cut = list(client.get_history("ann", BLOCK))
    assert all(entry.updated.microsecond % 1000 == 0 for entry in cut)

    output = StringIO()
    call_command("check_history", stdout=output)
    assert output.getvalue() == "1 rows with 5 entries were checked.\n"
    assert not orphan_lines(sweep())
    assert "0 were repaired" in repaired()
    after = list(client.get_history("ann", BLOCK))
    assert after == cut
    assert [(entry.revision, entry.state, entry.score) for entry in after] == [
        (entry.revision, entry.state, entry.score) for entry in before
    ]


def test_a_site_that_was_moved_as_json(client: DjangoXBlockUserStateClient, tmp_path: Path) -> None:
    """Several changes within a millisecond have one time afterwards."""
    client.set("ann", BLOCK, {"number": 0})
    for number in range(1, 40):
        client.set("ann", BLOCK, {"number": number})
    fixture = str(tmp_path / "site.json")
    call_command("dumpdata", "xblock_user_state", output=fixture)
    for model in (StudentModule, StudentModuleHistory):
        model._base_manager.using("default")._raw_delete("default")
    call_command("loaddata", fixture, stdout=StringIO())
    StudentModuleHistory._base_manager.filter(revision=3).update(
        created=StudentModuleHistory._base_manager.get(revision=2).created
    )
    output = StringIO()
    call_command("check_history", stdout=output)
    assert output.getvalue() == "1 rows with 40 entries were checked.\n"
    assert not orphan_lines(sweep())
    assert states(client) == list(range(39, -1, -1))
    client.set("ann", BLOCK, {"number": 40})
    call_command("check_history", stdout=StringIO())


@in_every_store
@pytest.mark.parametrize("arguments", [[], ["--dry-run"]], ids=["sweep", "dry run"])
def test_what_is_deleted_with_its_row_meanwhile_is_no_orphan(
    client: DjangoXBlockUserStateClient, settings: Settings, flags: Any, arguments: list[str]
) -> None:
    settings.XBLOCK_USER_STATE = flags
    add_entries(client, 3)

    def delete() -> None:
        StudentModule.objects.all().delete()

    with just_before("SELECT", StudentModule, lambda: on_another_connection(delete)):
        printed = sweep(*arguments)
    assert not orphan_lines(printed)


@in_every_store
def test_who_begins_anew_before_the_rows_are_read_loses_nothing(
    client: DjangoXBlockUserStateClient, settings: Settings, flags: Any
) -> None:
    settings.XBLOCK_USER_STATE = flags
    add_entries(client, 3)
    lose_rows()

    def begin_anew() -> None:
        sweep()
        add_entries(client, 2, start=10)

    with just_before("SELECT", StudentModule, lambda: on_another_connection(begin_anew)):
        sweep()
    assert states(client) == [11, 10]
    call_command("check_history", stdout=StringIO())


@needs_a_server
@in_every_store
def test_who_begins_anew_waits_for_the_deletion(
    client: DjangoXBlockUserStateClient, settings: Settings, flags: Any
) -> None:
    """A new row would go on after the newest orphan, and its history would begin after a gap."""
    settings.XBLOCK_USER_STATE = flags
    add_entries(client, 3)
    [name] = revisions()
    lose_rows()

    def begin() -> None:
        DjangoXBlockUserStateClient().set("ann", BLOCK, {"number": 10})
        connections.close_all()

    writer = Thread(target=begin)

    def is_kept_waiting() -> None:
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()

    model, alias = {
        "StudentModuleHistory": (StudentModuleHistory, "default"),
        "HistoryOutbox": (HistoryOutbox, "default"),
        "StudentModuleHistoryExtended": (_extended_or_default(), ALIAS),
    }[name]
    with just_before("DELETE", model, is_kept_waiting, alias):
        printed = sweep()
    writer.join()
    assert orphan_lines(printed)[0].endswith("3 entries belong to no state and were removed")
    assert states(client) == [10]
    call_command("check_history", stdout=StringIO())


def _extended_or_default() -> Any:
    try:
        return extended_model()
    except LookupError:
        return StudentModuleHistory


@TWO
def test_orphans_that_move_meanwhile_are_met_where_they_go(
    client: DjangoXBlockUserStateClient, settings: Settings
) -> None:
    add_entries_to_every_store(settings, client)
    lose_rows()

    def move() -> None:
        ship_any()
        list(Backfill("default", 100, remove_source=True).pages())

    with just_before("SELECT", StudentModule, lambda: on_another_connection(move)):
        printed = sweep()
    assert revisions() == {}
    assert orphan_lines(printed) == ["extended history: 24 entries belong to no state and were removed"]


@TWO
def test_tombstones_and_what_they_bury_are_left_to_the_relay(
    client: DjangoXBlockUserStateClient, settings: Settings
) -> None:
    settings.XBLOCK_USER_STATE = EXTENDED
    add_entries(client, 3)
    settings.XBLOCK_USER_STATE = BY_RELAY
    StudentModule.objects.all().delete()
    before = revisions()
    assert before == {"HistoryOutbox": [0], "StudentModuleHistoryExtended": [1, 2, 3]}
    assert not orphan_lines(sweep())
    assert revisions() == before
    call_command("relay_history", "--once", stdout=StringIO())
    assert revisions() == {}


@TWO
def test_a_history_database_that_is_down(
    client: DjangoXBlockUserStateClient, settings: Settings, outage: Outage
) -> None:
    add_entries_to_every_store(settings, client)
    lose_rows()
    output = StringIO()
    with outage.lasts(), pytest.raises(CommandError, match=f"(?s)in the extended history.*{ALIAS}.*again") as raised:
        call_command("sweep_history", stdout=output)
    assert raised.value.returncode == 1
    assert [line.split()[0] for line in orphan_lines(output.getvalue())] == ["outbox:", "default"]
    assert list(revisions()) == ["StudentModuleHistoryExtended"]
    sweep()
    assert revisions() == {}


def test_blocks_and_learners_that_nobody_knows_are_named_by_their_ids(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 1)
    [(student_id, block_id)] = StudentModule.objects.values_list("student_id", "block_id")
    # Citus refuses an UPDATE that changes the learner.
    entry = StudentModuleHistory._base_manager.get()
    StudentModuleHistory._base_manager.all()._raw_delete("default")
    entry.student_id += 1000
    entry.save_base(raw=True, force_insert=True)
    StudentModule.objects.all()._raw_delete("default")
    Block.objects.all()._raw_delete("default")
    printed = sweep()
    assert f"learner {student_id + 1000} (no such user), block {block_id} (not registered): revision 1" in printed


def test_many_orphans_take_statements_by_the_page(client: DjangoXBlockUserStateClient) -> None:
    blocks = make_blocks(PAGE + 50)
    client.set_many("ann", {block: {"essay": ESSAY} for block in blocks})
    client.set_many("bob", {make_block("other"): {"a": 1}})
    lose_rows()
    with captured() as statements:
        printed = sweep("--batch", "10000")
    assert orphan_lines(printed) == [f"default history: {PAGE + 50} entries belong to no state and were removed"]
    assert revisions() == {"StudentModuleHistory": [1]}
    assert len(statements) <= 30

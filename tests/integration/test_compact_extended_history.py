"""Packs in the default and in the extended history, and their way from one to the other."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.factories import BY, make_block, make_learners
from xblock_user_state.actions import move_state
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.encoding import PACK
from xblock_user_state.history.entries import extended_model, stores
from xblock_user_state.models import BaseStudentModuleHistory, StudentModule, StudentModuleHistory

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", "student_module_history"]),
]

BLOCK = make_block()
HISTORY = "student_module_history"


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann")
    return DjangoXBlockUserStateClient()


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Runs a command with a state file of its own, and returns its output."""

    def run(command: str, **options: Any) -> str:
        output = io.StringIO()
        call_command(command, stdout=output, state_file=tmp_path / f"{command}.json", **options)
        return output.getvalue()

    return run


def attempt(client: DjangoXBlockUserStateClient, times: int, start: int = 0) -> None:
    for number in range(start, start + times):
        client.set("ann", BLOCK, {"attempts": number, "answers": [*range(number)]})


def history(client: DjangoXBlockUserStateClient, **options: Any) -> list[Any]:
    return list(client.get_history("ann", BLOCK, **options))


def revisions() -> dict[str, list[tuple[int, bool]]]:
    """Return the revisions in each nonempty store, and which of them are packs."""
    found = {}
    for model, alias in stores("default"):
        rows = model._base_manager.using(alias).order_by("revision").values_list("revision", "encoding")
        found[model.__name__] = [(revision, encoding == PACK) for revision, encoding in rows]
    return {name: rows for name, rows in found.items() if rows}


def compact(run: Any) -> None:
    run("compact_history", older_than="0h")


def check() -> None:
    call_command("check_history", stdout=io.StringIO())


DEFAULT, EXTENDED = StudentModuleHistory.__name__, "StudentModuleHistoryExtended"


def test_both_histories_are_packed(settings: Settings, client: DjangoXBlockUserStateClient, run: Any) -> None:
    attempt(client, 5)
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True}
    attempt(client, 5, start=5)
    before = history(client)
    compact(run)
    assert revisions() == {DEFAULT: [(5, True)], EXTENDED: [(10, True)]}
    assert history(client) == before
    for revision in range(1, 12):
        assert history(client, before_revision=revision, limit=3) == before[11 - revision :][:3]
    attempt(client, 2, start=10)
    assert history(client)[2:] == before
    check()


def test_entries_in_the_outbox_are_on_their_way(
    settings: Settings, client: DjangoXBlockUserStateClient, run: Any
) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    attempt(client, 5)
    compact(run)
    assert revisions() == {"HistoryOutbox": [(revision, False) for revision in range(1, 6)]}


def test_packs_are_moved_as_they_are(client: DjangoXBlockUserStateClient, run: Any) -> None:
    attempt(client, 5)
    compact(run)
    attempt(client, 2, start=5)
    before = history(client)
    run("backfill_extended_history", remove_source=True)
    assert revisions() == {EXTENDED: [(5, True), (6, False), (7, False)]}
    assert history(client) == before
    check()


@pytest.mark.parametrize("batch", [2, 500])
@pytest.mark.parametrize("packed", ["default", "extended", "both"])
def test_copies_may_be_packed_in_another_way(
    client: DjangoXBlockUserStateClient, run: Any, packed: str, batch: int
) -> None:
    attempt(client, 5)
    if packed == "both":
        compact(run)
        attempt(client, 2, start=5)
    run("backfill_extended_history", batch=batch)
    before = history(client)
    models: dict[str, type[BaseStudentModuleHistory]] = {"default": StudentModuleHistory, "extended": extended_model()}
    if packed in models:
        pack_only(run, models[packed])
    else:
        compact(run)
    attempt(client, 2, start=7)
    before = history(client)[:2] + before
    assert history(client) == before
    check()
    call_command("repair_history", stdout=io.StringIO())
    run("backfill_extended_history", batch=batch, remove_source=True)
    assert DEFAULT not in revisions()
    assert history(client) == before
    check()


def pack_only(run: Any, model: type[BaseStudentModuleHistory]) -> None:
    """Pack one of the histories, as if a run had been interrupted before the other."""
    others = [each._base_manager.using(alias) for each, alias in stores("default") if each is not model]
    kept = [list(rows.all()) for rows in others]
    compact(run)
    for rows, before in zip(others, kept, strict=True):
        rows.all()._raw_delete(rows.db)
        rows.bulk_create(before)


def test_entries_that_differ_from_a_pack_stay(client: DjangoXBlockUserStateClient, run: Any) -> None:
    attempt(client, 5)
    run("backfill_extended_history")
    pack_only(run, extended_model())
    StudentModuleHistory._base_manager.filter(revision=3).update(grade=7.0)
    with pytest.raises(CommandError, match=r"the two histories differ.*revision 3"):
        run("backfill_extended_history", remove_source=True)
    assert len(revisions()[DEFAULT]) == 5


def test_packs_move_through_the_outbox(settings: Settings, client: DjangoXBlockUserStateClient, run: Any) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True}
    attempt(client, 5)
    before = history(client)
    compact(run)
    new = make_block("renamed")
    move_state(BLOCK, new, **BY)
    assert revisions() == {EXTENDED: [(5, True)]}
    assert [entry._replace(block_key=BLOCK) for entry in client.get_history("ann", new)] == before
    check()


def test_readers_settle_a_second_life_in_the_outbox(
    settings: Settings, client: DjangoXBlockUserStateClient, run: Any
) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    attempt(client, 5)
    call_command("relay_history", stdout=io.StringIO())
    earlier = history(client)
    compact(run)
    StudentModule._base_manager.all()._raw_delete("default")
    attempt(client, 2, start=50)
    found = history(client)
    assert found[2:] == earlier
    assert [(entry.revision, entry.state["attempts"]) for entry in found[:2]] == [(7, 51), (6, 50)]
    call_command("relay_history", stdout=io.StringIO())
    check()


def test_the_check_names_a_second_life_that_was_shipped_unread(
    settings: Settings, client: DjangoXBlockUserStateClient, run: Any
) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True}
    attempt(client, 5)
    compact(run)
    StudentModule._base_manager.all()._raw_delete("default")
    attempt(client, 2, start=50)
    for command in ("check_history", "repair_history", "check_history"):
        with pytest.raises(CommandError, match="1 rows"):
            call_command(command, stdout=io.StringIO())
    # Both lives are there: the rows, and the pack.
    assert revisions() == {EXTENDED: [(1, False), (2, False), (5, True)]}
    assert [entry.state["attempts"] for entry in history(client)] == [4, 3, 2, 51, 50]

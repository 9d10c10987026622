"""Early entries of the extended history in the archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from tests.factories import BY, make_block, make_learners
from tests.integration.archiving import Run, archiver, in_files, run, without_place
from tests.integration.histories import revisions
from xblock_user_state.actions import delete_block
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.maintenance import archiving
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.models import HistoryWatermark

pytest.importorskip("pyarrow")

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", "student_module_history"]),
]

BLOCK = make_block()
DEFAULT, EXTENDED = "StudentModuleHistory", "StudentModuleHistoryExtended"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def archive(tmp_path: Path) -> Run:
    return archiver(tmp_path)


@pytest.fixture
def client(settings: Settings, folder: Path) -> DjangoXBlockUserStateClient:
    """A client of a learner whose first entries were moved to the extended history."""
    make_learners("ann")
    client = DjangoXBlockUserStateClient()
    settings.XBLOCK_USER_STATE = {"HISTORY_ARCHIVE": str(folder)}
    attempt(client, 5)
    list(Backfill("default", 500, remove_source=True).pages())
    settings.XBLOCK_USER_STATE = {"HISTORY_ARCHIVE": str(folder), "EXTENDED_HISTORY": True}
    attempt(client, 5, start=5)
    return client


def attempt(client: DjangoXBlockUserStateClient, times: int, start: int = 0) -> None:
    for number in range(start, start + times):
        client.set("ann", BLOCK, {"attempts": number, "answers": [*range(number)]})


def history(client: DjangoXBlockUserStateClient) -> list[Any]:
    return list(client.get_history("ann", BLOCK))


def test_entries_are_archived_and_come_back(client: DjangoXBlockUserStateClient, archive: Run, folder: Path) -> None:
    before = history(client)
    assert archive("--to", folder).startswith("9 entries of 1 rows went to 1 files")
    assert revisions() == {EXTENDED: [10]}
    assert without_place(history(client)) == before
    run("check_history")
    attempt(client, 2, start=10)
    run("check_history")
    # New entries are shipped, and so are those that come back.
    assert archive("--restore", folder, older_than=None).startswith("9 entries")
    assert revisions() == {EXTENDED: [*range(1, 13)]}
    assert history(client)[2:] == before
    run("check_history")


@pytest.mark.parametrize("then", ["--to", "--restore"])
def test_a_run_that_ends_between_the_databases_loses_nothing(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    before = history(client)

    def fail(*_: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(archiving.Archiving, "_attempt_remove_extended", fail)
    with pytest.raises(SystemExit):
        archive("--to", folder)
    monkeypatch.undo()
    assert revisions() == {EXTENDED: [*range(1, 11)]}
    assert without_place(history(client)) == before
    run("check_history")
    archive(then, folder, older_than="0h" if then == "--to" else None)
    assert revisions() == {EXTENDED: [10] if then == "--to" else [*range(1, 11)]}
    assert without_place(history(client)) == before
    run("check_history")


def test_a_history_in_both_databases_stays_until_it_is_moved(
    client: DjangoXBlockUserStateClient, archive: Run, settings: Settings, folder: Path
) -> None:
    settings.XBLOCK_USER_STATE = {"HISTORY_ARCHIVE": str(folder)}
    attempt(client, 3, start=10)
    before = history(client)
    assert "1 rows have old entries that stay" in archive("--to", folder)
    assert revisions() == {EXTENDED: [*range(1, 11)], DEFAULT: [11, 12, 13]}
    list(Backfill("default", 500, remove_source=True).pages())
    assert archive("--to", folder).startswith("12 entries")
    assert without_place(history(client)) == before
    run("check_history")


def test_deletions_reach_both_histories_and_the_archive(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path
) -> None:
    archive("--to", folder)
    delete_block(BLOCK, **BY)
    archive("--erase", folder, older_than=None)
    assert (revisions(), in_files(folder), list(HistoryWatermark._base_manager.all())) == ({}, [], [])


def test_entries_are_dropped(client: DjangoXBlockUserStateClient, archive: Run) -> None:
    newest = history(client)[:1]
    archive("--drop")
    assert revisions() == {EXTENDED: [10]}
    assert history(client) == newest
    run("check_history")

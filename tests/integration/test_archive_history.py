"""Early history in the archive: readers and commands find the same entries, and the others stay readable."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError
from pytest_django import Settings

from tests.factories import BY, make_block, make_learners
from tests.integration.archiving import Run, archiver, in_files, in_tables, run, without_place
from tests.integration.statements import captured
from xblock_user_state.actions import delete_block, delete_learner, export_learner, move_state
from xblock_user_state.archive import read_export
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.archived import manifest, parts
from xblock_user_state.history.archived.places import Folder
from xblock_user_state.interface import DoesNotExist, ServiceUnavailable
from xblock_user_state.maintenance import archiving
from xblock_user_state.models import (
    BaseStudentModuleHistory,
    HistoryOutbox,
    HistoryWatermark,
    StudentModule,
    StudentModuleHistory,
)

pytest.importorskip("pyarrow")

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()
HISTORY = StudentModuleHistory._base_manager


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    """The archive, which readers know."""
    settings.XBLOCK_USER_STATE = {"HISTORY_ARCHIVE": str(tmp_path / "archive")}
    return tmp_path / "archive"


@pytest.fixture
def archive(tmp_path: Path) -> Run:
    return archiver(tmp_path)


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann", "ben")
    return DjangoXBlockUserStateClient()


def attempt(client: DjangoXBlockUserStateClient, times: int, name: str = "ann", start: int = 0) -> None:
    """Submit an answer this many times, each time with another score."""
    for number in range(start, start + times):
        with client.batch(name) as batch:
            batch.set(BLOCK, {"attempts": number, "answers": [{"input": str(each)} for each in range(number + 1)]})
            batch.set_score(BLOCK, number, 1000)


def history(client: DjangoXBlockUserStateClient, name: str = "ann", **options: Any) -> list[Any]:
    return list(client.get_history(name, BLOCK, **options))


def watermarks() -> list[tuple[int, int]]:
    return list(HistoryWatermark._base_manager.order_by("pk").values_list("first_kept", "last_archived"))


def make_older(revisions: range, days: int = 400) -> None:
    for revision in revisions:
        created = datetime.now(UTC) - timedelta(days=days, minutes=-revision)
        HISTORY.filter(revision=revision).update(created=created)


def test_readers_see_the_same_history(client: DjangoXBlockUserStateClient, archive: Run, folder: Path) -> None:
    attempt(client, 40)
    client.delete("ann", BLOCK)
    before = history(client)
    assert archive("--to", folder).startswith("40 entries of 1 rows went to 1 files of ")
    assert in_tables() == [41]
    assert [revision for _, revision in in_files(folder)] == [*range(1, 41)]
    after = history(client)
    assert without_place(after) == before
    assert [entry.archived for entry in after] == [False] + [True] * 40
    for start in (2, 20, 41, 42):
        assert history(client, before_revision=start) == [entry for entry in after if entry.revision < start]
        assert history(client, before_revision=start, limit=3) == [each for each in after if each.revision < start][:3]
    assert history(client, limit=7) == after[:7]
    entries = BaseStudentModuleHistory.get_history(StudentModule.objects.all())
    assert [(each.revision, each.is_archived) for each in entries] == [(each.revision, each.archived) for each in after]
    assert "The early entries of 1 rows are in the archive" in run("check_history")
    assert run("repair_history").startswith("1 rows were checked; 0 were repaired.")


def test_an_archived_history_takes_one_statement_more(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path
) -> None:
    attempt(client, 3)
    archive("--to", folder)
    client = DjangoXBlockUserStateClient(get_user_model().objects.get(username="ann"))
    with captured() as statements:
        history(client)
    assert len(statements) == 2


def test_changes_go_on_after_the_cut(client: DjangoXBlockUserStateClient, archive: Run, folder: Path) -> None:
    attempt(client, 20)
    archive("--to", folder)
    attempt(client, 40, start=20)
    before = history(client)
    assert [entry.revision for entry in before] == [*range(60, 0, -1)]
    run("check_history")
    assert archive("--to", folder).startswith("40 entries of 1 rows went to 1 files")
    assert in_tables() == [60]
    assert without_place(history(client)) == without_place(before)
    assert watermarks() == [(60, 59)]
    run("check_history")
    assert archive("--to", folder).startswith("0 entries of 1 rows went to 0 files")


def test_a_history_in_use_is_cut_at_a_full_entry(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path
) -> None:
    attempt(client, 40)
    make_older(range(1, 38))
    before = history(client)
    assert archive("--to", folder, older_than="90d").startswith("32 entries")
    assert in_tables() == [*range(33, 41)]
    assert without_place(history(client)) == before
    run("check_history")


def test_packs_are_archived(client: DjangoXBlockUserStateClient, archive: Run, folder: Path, tmp_path: Path) -> None:
    attempt(client, 10)
    make_older(range(1, 11), days=800)
    run("compact_history", older_than="700d", state_file=tmp_path / "compaction.json")
    attempt(client, 10, start=10)
    make_older(range(11, 16), days=100)
    before = history(client)
    # The second chain begins at the pack's end, and goes on until now.
    assert archive("--to", folder, older_than="90d").startswith("0 entries")
    run("compact_history", older_than="90d", state_file=tmp_path / "compaction.json")
    assert in_tables() == [15, 16, 17, 18, 19, 20]
    assert archive("--to", folder).startswith("19 entries")
    assert in_tables() == [20]
    assert without_place(history(client)) == before
    run("check_history")
    attempt(client, 3, start=20)
    run("compact_history", older_than="0h", state_file=tmp_path / "compaction.json")
    assert in_tables() == [23]
    assert archive("--to", folder).startswith("3 entries")
    assert [entry.revision for entry in history(client)] == [*range(23, 0, -1)]
    run("check_history")


def test_a_pass_may_be_limited_and_counted(client: DjangoXBlockUserStateClient, archive: Run, folder: Path) -> None:
    for name in ("ann", "ben"):
        attempt(client, 3, name)
    assert archive("--to", folder, "--dry-run").startswith("4 entries of 2 rows would go (--dry-run).")
    assert (watermarks(), in_files(folder)) == ([], [])
    assert archive("--to", folder, "--learner", "ben").startswith("2 entries of 1 rows")
    assert archive("--to", folder, "--context", BLOCK.context_key).startswith("2 entries of 2 rows")
    assert in_tables() == [3, 3]
    run("check_history")


@pytest.mark.parametrize("arguments", [("--to", "x"), ("--drop",)])
def test_an_age_must_be_named(archive: Run, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="--older-than is missing"):
        archive(*arguments, older_than=None)


def test_dropped_entries_are_no_fault(client: DjangoXBlockUserStateClient, archive: Run) -> None:
    attempt(client, 40)
    newest = history(client, limit=1)
    assert archive("--drop") == "39 entries of 1 rows were dropped.\n"
    assert history(client) == newest
    assert watermarks() == [(40, 0)]
    assert "The early entries of 1 rows are in the archive, or were dropped." in run("check_history")
    attempt(client, 3, start=40)
    assert [entry.revision for entry in history(client)] == [43, 42, 41, 40]
    run("check_history")
    HISTORY.filter(revision=40)._raw_delete("default")
    with pytest.raises(CommandError, match="1 rows disagree"):
        run("check_history")


@pytest.mark.parametrize("name", ["{}/", "file://{}"])
def test_a_place_has_several_names(client: DjangoXBlockUserStateClient, archive: Run, folder: Path, name: str) -> None:
    attempt(client, 5)
    assert "Readers do not look there" not in archive("--to", name.format(folder))
    assert [entry.revision for entry in history(client)] == [5, 4, 3, 2, 1]


def test_without_the_setting_history_begins_later(
    client: DjangoXBlockUserStateClient, archive: Run, tmp_path: Path
) -> None:
    attempt(client, 5)
    output = archive("--to", tmp_path / "archive")
    assert 'Readers do not look there: XBLOCK_USER_STATE["HISTORY_ARCHIVE"] is not' in output
    assert [entry.revision for entry in history(client)] == [5]
    run("check_history")


@pytest.mark.parametrize("lost", ["*.parquet", "manifest.json"])
def test_an_archive_that_cant_be_read_is_an_error_of_early_entries_only(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path, tmp_path: Path, lost: str
) -> None:
    attempt(client, 5)
    archive("--to", folder)
    [file] = folder.glob(lost)
    file.rename(folder / "elsewhere")
    assert [entry.revision for entry in history(client, limit=1)] == [5]
    with pytest.raises(ServiceUnavailable, match="a part of the history is in the archive"):
        history(client)
    with pytest.raises(CommandError, match="a part of the history is in the archive"):
        run("export_history", tmp_path / "export")
    attempt(client, 1, start=9)
    with pytest.raises(CommandError, match=r"of the archive are missing or damaged|1 rows lack entries in the archive"):
        run("check_history")


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-100])], ids=["missing", "truncated"]
)
def test_a_damaged_file_is_named_and_not_its_learners(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path, damage: Callable[[Path], object]
) -> None:
    attempt(client, 5)
    archive("--to", folder)
    [file] = folder.glob("*.parquet")
    damage(file)
    with pytest.raises(CommandError, match=r"^1 files of the archive are missing or damaged"):
        run("check_history")


def without_fifth(folder: Path, _: bytes) -> None:
    """Write the older file anew without an entry in the middle."""
    place = Folder(folder)
    before = manifest.read_manifest(place)
    entries = [entry for entry in parts.read_part(place, before.parts[0]) if entry.revision != 5]
    manifest.replace(place, before, [parts.write_part(place, entries, 1), before.parts[1]])


class Killed(Exception):
    """Stands for the end of the process."""


def fail(*_: object, **__: object) -> None:
    raise Killed


def interrupt(archive: Run, folder: Path, step: str = "write_part") -> None:
    """Run the command, and end it at a step."""
    place = archiving if hasattr(archiving, step) else archiving.Archiving
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, step, fail)
        with pytest.raises(Killed):
            archive("--to", folder)


def as_it_was(folder: Path, old: bytes) -> None:
    """Bring the first manifest back."""
    (folder / "manifest.json").write_bytes(old)


def emptied(folder: Path, _: bytes) -> None:
    """Lose the manifest, and all files with it."""
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without_fifth, "revision 5 is missing"),
        (as_it_was, "revisions 10 to 19 are missing"),
        (emptied, "revisions 1 to 19 are missing"),
    ],
)
def test_entries_that_the_archive_lacks_are_named(
    client: DjangoXBlockUserStateClient,
    archive: Run,
    folder: Path,
    tmp_path: Path,
    change: Callable[[Path, bytes], None],
    fault: str,
) -> None:
    attempt(client, 10)
    archive("--to", folder)
    old = (folder / "manifest.json").read_bytes()
    attempt(client, 10, start=10)
    attempt(client, 10, "ben")
    archive("--to", folder)
    change(folder, old)
    report = tmp_path / "report.jsonl"
    rows = 1 if change is without_fifth else 2
    with pytest.raises(CommandError, match=f"^{rows} rows lack entries in the archive: "):
        run("check_history", "--context", BLOCK.context_key, "--report", report)
    assert json.loads(report.read_text().splitlines()[0])["fault"] == f"{fault} in the archive"


def test_dropped_entries_are_not_missing_in_the_archive(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path
) -> None:
    attempt(client, 10)
    interrupt(archive, folder)
    # The interrupted run has announced them.
    assert archive("--drop").startswith("9 entries")
    run("check_history")
    for start, where in ((10, ["--to", folder]), (20, ["--drop"]), (30, ["--to", folder])):
        attempt(client, 10, start=start)
        assert archive(*where).startswith("10 entries")
        run("check_history")
    assert [revision for _, revision in in_files(folder)] == [*range(10, 20), *range(30, 40)]
    assert HistoryWatermark._base_manager.get().first_archived == 30
    (folder / "manifest.json").unlink()
    with pytest.raises(CommandError, match=r"^1 rows lack entries in the archive"):
        run("check_history")


def test_restored_entries_are_the_same(client: DjangoXBlockUserStateClient, archive: Run, folder: Path) -> None:
    attempt(client, 40)
    before = history(client)
    archive("--to", folder)
    attempt(client, 3, start=40)
    archive("--to", folder)
    expected = without_place(history(client))
    assert archive("--restore", folder, older_than=None) == "42 entries came back from the archive.\n"
    assert in_tables() == [*range(1, 44)]
    assert history(client) == expected
    assert history(client)[3:] == before
    run("check_history")
    assert archive("--restore", folder, older_than=None).startswith("0 entries")
    assert archive("--to", folder).startswith("42 entries")
    assert without_place(history(client)) == expected
    run("check_history")


def test_deleted_learners_are_erased_from_the_files(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path
) -> None:
    ann, ben = get_user_model().objects.order_by("username")
    for name in ("ann", "ben"):
        attempt(client, 5, name)
    archive("--to", folder)
    delete_learner(ann)
    with pytest.raises(DoesNotExist):
        history(client)
    attempt(client, 40)
    assert [entry.revision for entry in history(client)] == [*range(40, 0, -1)]
    run("check_history")
    # Nobody could tell the lives apart in the files, so the new one waits.
    old = {file.name for file in folder.glob("*.parquet")}
    output = archive("--to", folder)
    assert output.startswith("1 deleted histories were erased: 4 entries in 1 files.\n39 entries of 2 rows went to 1")
    assert in_files(folder) == [(ben.pk, each) for each in range(1, 5)] + [(ann.pk, each) for each in range(1, 40)]
    assert old.isdisjoint(file.name for file in folder.glob("*.parquet"))
    assert [entry.archived for entry in history(client)] == [False] + [True] * 39
    delete_block(BLOCK, **BY)
    assert archive("--erase", folder, older_than=None).startswith("2 deleted histories were erased: 43 entries in 2")
    assert [file.name for file in folder.iterdir() if file.name != ".lock"] == ["manifest.json"]
    assert watermarks() == []


def test_a_place_without_an_archive_keeps_deletions_and_entries(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path, tmp_path: Path
) -> None:
    ann, ben = get_user_model().objects.order_by("username")
    for name in ("ann", "ben"):
        attempt(client, 5, name)
    archive("--to", folder)
    delete_learner(ann)
    attempt(client, 5, "ben", start=5)
    elsewhere = tmp_path / "elsewhere"
    for act in ("--erase", "--restore"):
        with pytest.raises(CommandError, match=r"^this is no archive of the history, it has no manifest.json: "):
            archive(act, elsewhere, older_than=None)
    with pytest.raises(CommandError, match=r"^early entries are in an archive already, and here is no manifest.json: "):
        archive("--to", elsewhere)
    assert not elsewhere.exists()
    archive("--restore", folder, older_than=None)
    # Entries of ann are there.
    with pytest.raises(CommandError, match=r"^early entries are in an archive already"):
        archive("--to", elsewhere)
    assert archive("--erase", folder, older_than=None).startswith("1 deleted histories were erased: 4 entries in 1")
    assert archive("--erase", folder, older_than=None).startswith("No deleted histories wait to be erased.")
    assert in_files(folder) == [(ben.pk, each) for each in range(1, 5)]
    assert archive("--to", elsewhere).startswith("9 entries of 1 rows went to 1 files")


def test_the_archive_of_another_site_is_refused(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path, tmp_path: Path
) -> None:
    attempt(client, 5)
    archive("--to", folder)
    other = Folder(tmp_path / "other")
    [of_ann] = manifest.read_manifest(Folder(folder)).parts
    entries = [entry._replace(student_id=2_000_000_000) for entry in parts.read_part(Folder(folder), of_ann)]
    manifest.begin(other)
    for act, age in (("--to", "0h"), ("--erase", None), ("--restore", None)):
        with pytest.raises(
            CommandError, match=r"^this archive has no entries of those that left this database, such as"
        ):
            archive(act, other.path, older_than=age)
    manifest.replace(other, manifest.read_manifest(other), [parts.write_part(other, entries, 1)])
    before = sorted(other.names())
    for act, age in (("--to", "0h"), ("--erase", None), ("--restore", None)):
        with pytest.raises(
            CommandError, match=r"^this archive has no entries of those that left this database, such as"
        ):
            archive(act, other.path, older_than=age)
    archive("--restore", folder, older_than=None)
    HistoryWatermark._base_manager.all()._raw_delete("default")
    with pytest.raises(CommandError, match=r"^this archive has entries, and this database has none in an archive: "):
        archive("--to", other.path)
    assert (in_tables(), sorted(other.names())) == ([1, 2, 3, 4, 5], before)


def test_an_archive_with_an_unreadable_file_may_be_the_right_one(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path
) -> None:
    attempt(client, 5)
    archive("--to", folder)
    [file] = folder.glob("*.parquet")
    file.write_bytes(b"damaged")
    attempt(client, 5, start=5)
    assert archive("--to", folder).startswith("5 entries of 1 rows went to 1 files")
    with pytest.raises(CommandError, match="1 files of the archive are missing or damaged"):
        run("check_history")


def test_a_learner_may_be_deleted_after_an_interrupted_first_run(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path
) -> None:
    attempt(client, 5)
    interrupt(archive, folder)
    delete_learner(get_user_model().objects.get(username="ann"))
    with pytest.raises(CommandError, match=r"^early entries are in an archive already"):
        archive("--to", folder / "elsewhere")
    assert archive("--to", folder).startswith("1 deleted histories were erased: 0 entries in 0 files.")
    assert watermarks() == []


def test_a_deletion_during_a_run_reaches_its_file(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(client, 5)
    write = Folder.write

    def delete_and_write(self: Folder, name: str, content: bytes) -> None:
        if name.startswith("part-"):
            delete_learner(get_user_model().objects.get(username="ann"))
        write(self, name, content)

    monkeypatch.setattr(Folder, "write", delete_and_write)
    archive("--to", folder)
    monkeypatch.undo()
    assert len(in_files(folder)) == 4
    archive("--erase", folder, older_than=None)
    assert in_files(folder) == []


def test_state_that_was_deleted_by_sql_is_erased(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path
) -> None:
    attempt(client, 5)
    archive("--to", folder)
    StudentModule._base_manager.all()._raw_delete("default")
    assert "archive: 1 histories belong to no state and would be erased" in run("sweep_history", "--dry-run")
    assert "archive: 1 histories belong to no state and will be erased by archive_history" in run("sweep_history")
    archive("--erase", folder, older_than=None)
    assert (in_tables(), in_files(folder), watermarks()) == ([], [], [])


@pytest.mark.parametrize("step", ["_described", "_finish", "write_part", "replace", "_remove", "_remove_same"])
def test_an_interrupted_run_loses_nothing(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path, step: str
) -> None:
    attempt(client, 40)
    before = history(client)
    interrupt(archive, folder, step)
    assert without_place(history(client)) == before
    assert in_tables() == [*range(1, 41)]
    run("check_history")
    assert archive("--to", folder).startswith("39 entries of 1 rows went to 1 files")
    assert without_place(history(client)) == before
    run("check_history")
    assert archive("--restore", folder, older_than=None).startswith("39 entries")
    assert history(client) == before


def test_entries_that_changed_meanwhile_stay(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    attempt(client, 5)
    before = history(client)
    write = parts.write_part

    def compact_and_write(*arguments: Any) -> Any:
        run("compact_history", older_than="0h", state_file=tmp_path / "compaction.json")
        return write(*arguments)

    monkeypatch.setattr(archiving, "write_part", compact_and_write)
    assert "1 rows have old entries that stay" in archive("--to", folder)
    monkeypatch.undo()
    assert history(client) == before
    assert archive("--to", folder).startswith("4 entries")
    assert without_place(history(client)) == before
    run("check_history")


def test_damaged_histories_stay(client: DjangoXBlockUserStateClient, archive: Run, folder: Path) -> None:
    attempt(client, 5)
    HISTORY.filter(revision=3)._raw_delete("default")
    assert "1 rows have old entries that stay" in archive("--to", folder)
    assert in_tables() == [1, 2, 4, 5]


def test_an_interrupted_pass_goes_on(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ann", "ben"):
        attempt(client, 3, name)
    monkeypatch.setattr(archiving, "FILE_ENTRIES", 1)
    remove = archiving.Archiving._remove
    done: list[object] = []

    def once(self: archiving.Archiving, *arguments: Any) -> Any:
        if done:
            raise OSError("no disk")
        done.append(arguments)
        return remove(self, *arguments)

    monkeypatch.setattr(archiving.Archiving, "_remove", once)
    with pytest.raises(CommandError, match="no disk"):
        archive("--to", folder)
    monkeypatch.setattr(archiving.Archiving, "_remove", remove)
    assert archive("--to", folder).startswith("going on after learner ")
    assert in_tables() == [3, 3]
    run("check_history")


def test_exports_have_archived_entries(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path, tmp_path: Path
) -> None:
    for name in ("ann", "ben"):
        attempt(client, 5, name)
    run("export_history", tmp_path / "before")
    of_ann = export_learner("ann", **BY).data["history"]
    archive("--to", folder)
    run("export_history", tmp_path / "after")
    assert list(read_export(tmp_path / "after")) == list(read_export(tmp_path / "before"))
    assert export_learner("ann", **BY).data["history"] == of_ann


def test_archived_state_moves_once_it_is_restored(
    client: DjangoXBlockUserStateClient, archive: Run, folder: Path
) -> None:
    attempt(client, 5)
    before = history(client)
    archive("--to", folder)
    new = make_block("renamed")
    [skipped] = move_state(BLOCK, new, **BY).details
    assert skipped.reason == "its early history is in the archive: bring it back with archive_history --restore"
    archive("--restore", folder, older_than=None)
    assert move_state(BLOCK, new, **BY).states == 1
    assert [entry._replace(block_key=BLOCK) for entry in client.get_history("ann", new)] == before
    archive("--to", folder)
    assert [entry.archived for entry in client.get_history("ann", new)] == [False] + [True] * 4
    run("check_history")


def test_dropped_history_moves(client: DjangoXBlockUserStateClient, archive: Run) -> None:
    attempt(client, 5)
    archive("--drop")
    move_state(BLOCK, make_block("renamed"), **BY)
    run("check_history")


def test_entries_on_their_way_stay(client: DjangoXBlockUserStateClient, archive: Run, folder: Path) -> None:
    attempt(client, 3)
    row = HISTORY.order_by("-revision").first()
    assert row is not None
    waiting = {field.attname: getattr(row, field.attname) for field in HistoryOutbox._meta.concrete_fields}
    HistoryOutbox._base_manager.bulk_create([HistoryOutbox(**waiting)])
    assert "1 rows have old entries that stay" in archive("--to", folder)

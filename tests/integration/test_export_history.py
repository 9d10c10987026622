"""The export has every entry once, decoded; its reader trusts only parts that the manifest confirms."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from opaque_keys.edx.locator import CourseLocator

from tests.factories import COURSE, make_block, make_blocks, make_learners
from tests.integration.statements import captured
from xblock_user_state.archive import selection
from xblock_user_state.archive.format import ExportError, ExportWriter, read_export
from xblock_user_state.archive.selection import Selection
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.models import Block, StudentModule, StudentModuleHistory

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", "student_module_history"]),
]

OTHER_COURSE = CourseLocator("Astro", "A102", "2026")
ALWAYS = {
    "learner",
    "context_key",
    "usage_key",
    "block_type",
    "revision",
    "created",
    "grade",
    "max_grade",
    "actor",
}

Export = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann", "ben")
    return DjangoXBlockUserStateClient()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "export"


@pytest.fixture
def export(folder: Path) -> Export:
    """Runs the command, and returns the entries that the reader finds."""

    def export(**options: Any) -> list[dict[str, Any]]:
        call_command("export_history", str(folder), stdout=io.StringIO(), **options)
        return list(read_export(folder))

    return export


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def key_of(entry: dict[str, Any]) -> tuple[str, str, int]:
    return entry["learner"], entry["usage_key"], entry["revision"]


def write_history(client: DjangoXBlockUserStateClient, revisions: int = 5) -> set[tuple[str, str, int]]:
    """Write to five blocks in two courses, and return the keys of all entries."""
    blocks = [*make_blocks(3), *make_blocks(2, course=OTHER_COURSE)]
    for revision in range(revisions):
        for name in ("ann", "ben"):
            client.set_many(name, {block: {"n": revision} for block in blocks})
            client.set_many(name, {make_block("film", "video"): {"position": revision}})
    return {(name, str(block), n) for name in ("ann", "ben") for block in blocks for n in range(1, revisions + 1)}


def test_an_entry_has_all_that_is_documented(client: Any, export: Export) -> None:
    ben = get_user_model().objects.get(username="ben")
    DjangoXBlockUserStateClient(ben).set("ann", make_block(), {"answer": "B", "rate": float("nan"), "big": 10**30})
    client.set_score("ann", make_block(), 1, 2)
    client.delete("ann", make_block())
    deleted, scored, first = export()
    (stored, *_) = StudentModuleHistory.objects.order_by("revision")

    assert set(first) == ALWAYS | {"state"}
    assert math.isnan(first["state"].pop("rate"))
    assert first == {
        "learner": "ann",
        "context_key": str(COURSE),
        "usage_key": str(make_block()),
        "block_type": "problem",
        "revision": 1,
        "created": stored.created.isoformat(timespec="microseconds"),
        "state": {"answer": "B", "big": 10**30},
        "grade": None,
        "max_grade": None,
        "actor": "ben",
    }
    assert (scored["grade"], scored["max_grade"], scored["actor"]) == (1, 2, None)
    assert deleted["state"] == {}


def test_a_state_that_never_was_is_null(client: Any, export: Export) -> None:
    client.set_score("ann", make_block(), 1, 2)
    (entry,) = export()
    assert entry["state"] is None


def test_each_entry_comes_once_from_all_stores(settings: Any, client: Any, export: Export) -> None:
    expected = write_history(client, revisions=40)
    next(Backfill("default", 130).pages())
    next(Backfill("default", 70, remove_source=True).pages())
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    client.set("ben", make_block("block1"), {"n": 40})
    entries = export()
    assert len(entries) == len(expected) + 1
    assert {key_of(entry) for entry in entries} == expected | {("ben", str(make_block("block1")), 41)}
    assert all(entry["state"] == {"n": entry["revision"] - 1} for entry in entries)


def test_entries_of_a_block_come_newest_first_and_together(client: Any, export: Export) -> None:
    write_history(client)
    revisions = [entry["revision"] for entry in export()]
    assert revisions == [5, 4, 3, 2, 1] * 10


@pytest.mark.parametrize("part_size", [64, 0.0003])
def test_filters_choose_context_learner_and_time(client: Any, folder: Path, part_size: float) -> None:
    expected = write_history(client)
    middle = StudentModuleHistory.objects.filter(revision=3).earliest("created").created.isoformat()

    def exported(**options: Any) -> set[tuple[str, str, int]]:
        out = folder / str(len(list(folder.glob("*"))))
        call_command("export_history", str(out), stdout=io.StringIO(), part_size=part_size, **options)
        return {key_of(entry) for entry in read_export(out)}

    here = {str(block) for block in make_blocks(3)}
    assert exported() == expected
    assert exported(context=str(COURSE)) == {key for key in expected if key[1] in here}
    assert exported(learner="ben") == {key for key in expected if key[0] == "ben"}
    both = exported(learner="ben", context=str(OTHER_COURSE))
    assert both == {key for key in expected if key[0] == "ben" and key[1] not in here}
    assert exported(until=middle) == {key for key in expected if key[2] < 3}
    assert exported(since=middle) == {key for key in expected if key[2] >= 3}


def test_a_block_that_is_not_registered_is_exported_without_its_name(client: Any, export: Export) -> None:
    client.set("ann", make_block(), {"n": 1})
    Block.objects.all()._raw_delete("default")
    [entry] = export()
    assert (entry["usage_key"], entry["context_key"], entry["state"]) == (None, None, {"n": 1})


def test_damaged_entries_are_exported_as_such_and_counted(client: Any, export: Export, folder: Path) -> None:
    for revision in range(4):
        client.set("ann", make_block(), {"n": revision, "text": "x" * 100})
        client.set("ben", make_block(), {"n": revision})
    ann = StudentModule.objects.get(student__username="ann").student_id
    StudentModuleHistory._base_manager.filter(student_id=ann, revision=3).update(body=b"broken")
    StudentModuleHistory._base_manager.filter(student_id=ann, revision=1).update(encoding=0, body=b"not JSON")

    entries = {key_of(entry): entry for entry in export()}

    def damage(revision: int) -> str:
        entry = entries["ann", str(make_block()), revision]
        assert "state" not in entry
        return entry["damaged"]

    assert len(entries) == 8
    assert damage(4).endswith("revision 4 can't be read: it builds on revision 3, which is damaged")
    assert "revision 3 can't be read" in damage(3)
    assert damage(1).startswith("revision 1 can't be read: it is not JSON")
    assert manifest_of(folder)["damaged"] == sum("damaged" in entry for entry in entries.values())
    assert all(entries["ben", str(make_block()), n]["state"] == {"n": n - 1} for n in (1, 2, 3, 4))


@pytest.mark.parametrize("options", [{}, {"context": str(COURSE)}, {"learner": "ann"}], ids=str)
def test_an_export_goes_on_after_its_last_complete_part(
    client: Any, folder: Path, export: Export, options: dict[str, str]
) -> None:
    write_history(client, revisions=7)
    whole = folder.with_name("whole")
    call_command("export_history", str(whole), stdout=io.StringIO(), part_size=0.001, **options)
    expected = list(read_export(whole))
    parts = len(manifest_of(whole)["files"])
    assert parts > 4

    for number in range(parts):
        copy_interrupted(whole, folder, number)
        with pytest.raises(ExportError, match="was interrupted"):
            next(read_export(folder))
        with pytest.raises(CommandError, match="go on with it"):
            export(**options)
        assert export(resume=True, part_size=0.001, **options) == expected
        assert manifest_of(folder) == manifest_of(whole)
        assert not list(folder.glob("*.partial"))


def copy_interrupted(whole: Path, folder: Path, number: int) -> None:
    """Make `folder` look as after a kill in the middle of a part, with `number` complete parts before it."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    manifest = manifest_of(whole)
    kept = manifest["files"][:number]
    keys = [key_after(whole, manifest, count) for count in range(1, number + 1)]
    counts = {name: sum(part[name] for part in kept) for name in ("entries", "damaged")}
    manifest.update(counts, files=kept, complete=False, last_key=keys[-1] if keys else None)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for part in kept:
        (folder / part["name"]).write_bytes((whole / part["name"]).read_bytes())
    (folder / f"part-{number + 1:06}.jsonl.partial").write_bytes(b"half a part")


def key_after(whole: Path, manifest: dict[str, Any], count: int) -> list[str]:
    """Return the key of the last entry in the first `count` parts."""
    last = json.loads(zstd.decompress((whole / manifest["files"][count - 1]["name"]).read_bytes()).splitlines()[-1])
    row = StudentModule.objects.get(
        student__username=last["learner"], block__usage_key=last["usage_key"], block__context__key=last["context_key"]
    )
    return [str(row.student_id), str(row.block_id), str(last["revision"])]


def test_other_filters_do_not_continue_an_export(client: Any, export: Export) -> None:
    client.set("ann", make_block(), {"n": 1})
    export()
    with pytest.raises(CommandError, match="begun with other filters"):
        export(resume=True, learner="ann")


def test_a_finished_export_is_left_as_it_is(client: Any, export: Export) -> None:
    client.set("ann", make_block(), {"n": 1})
    first = export()
    client.set("ann", make_block(), {"n": 2})
    assert export(resume=True) == first


def test_a_site_without_history_has_an_empty_export(export: Export, folder: Path) -> None:
    assert export() == []
    assert manifest_of(folder)["files"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learner": "nobody"}, "there is no user 'nobody'"),
        ({"context": "moon"}, "'moon' is not a course or library key"),
        ({"context": "course-v1:Astro+A101+2062"}, "no learner has ever had state in 'course-v1:"),
        ({"since": "yesterday"}, "'yesterday' is not a time in ISO 8601"),
        ({"part_size": 0.0}, "a part can't have"),
    ],
)
def test_senseless_arguments_are_refused(export: Export, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        export(**options)


def test_the_reader_finds_what_is_damaged_or_missing(client: Any, export: Export, folder: Path) -> None:
    write_history(client)
    export(part_size=0.002)
    part = sorted(folder.glob("part-*"))[1]
    data = part.read_bytes()
    part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ExportError, match=f"{part.name} is damaged"):
        list(read_export(folder))
    part.unlink()
    with pytest.raises(ExportError, match=f"{part.name} is missing"):
        list(read_export(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": 3}, "has 2 entries, 0 of them damaged; its manifest says 3 and 0"),
        ({"damaged": 1}, "its manifest says 2 and 1"),
        ({"version": 2}, "has the format version 2"),
        ({"format": "csv"}, "is not the manifest"),
    ],
)
def test_the_reader_compares_counts_and_format(
    client: Any, export: Export, folder: Path, change: dict[str, Any], message: str
) -> None:
    client.set("ann", make_block(), {"n": 1})
    client.set("ann", make_block(), {"n": 2})
    export()
    (folder / "manifest.json").write_text(json.dumps({**manifest_of(folder), **change}))
    with pytest.raises(ExportError, match=message):
        list(read_export(folder))


def test_a_part_with_fewer_entries_than_the_manifest_says_is_an_error(folder: Path) -> None:
    writer = ExportWriter(folder, {}, resume=False)
    writer.write([1, 1, 1], '{"state":null}\n')
    writer.finish()
    manifest = manifest_of(folder)
    manifest["files"][0]["entries"] = manifest["entries"] = 2
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match="has 1 entries; the manifest says 2"):
        list(read_export(folder))


def test_a_folder_without_an_export_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"manifest\.json is missing"):
        list(read_export(tmp_path))


def test_the_reader_needs_no_django(client: Any, export: Export, folder: Path) -> None:
    client.set("ann", make_block(), {"n": 1})
    export()
    program = (
        "import sys; from xblock_user_state.archive import read_export; "
        "print([entry['state'] for entry in read_export(sys.argv[1])], 'django' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=True)
    assert ended.stdout == "[{'n': 1}] False\n"


def test_unrecorded_blocks_cost_no_statement_of_their_own(client: Any, django_assert_max_num_queries: Any) -> None:
    client.set_many("ann", {block: {"position": 1} for block in make_blocks(150, "video")})
    client.set("ann", make_block(), {"n": 1})
    with django_assert_max_num_queries(8):
        assert len(list(Selection("default").entries())) == 1


def test_the_number_of_statements_does_not_grow_with_the_blocks(client: Any) -> None:
    counts = []
    for number in (5, 100):
        for revision in range(4):
            client.set_many("ann", {block: {"n": number + revision} for block in make_blocks(number)})
        with captured() as statements:
            assert len(list(Selection("default").entries())) >= 4 * number
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_a_state_of_sql_is_one_line(client: Any, export: Export) -> None:
    """A score records the text of the row as it is: JSON of SQL may have several lines, or be none."""
    text = '{"answer": "d\u00e9j\u00e0 vu \u2028",\n "list": [1,\n 2], "rate": NaN}'
    for name, of_sql in (("ann", text), ("ben", "garbage\n{")):
        client.set(name, make_block(), {"n": 1})
        StudentModule._base_manager.filter(student__username=name).update(state=of_sql)
        # A client that has not read the row before.
        stranger = DjangoXBlockUserStateClient()
        stranger.set_score(name, make_block(), 1, 2)
        stranger.set_score(name, make_block(), 2, 2)
    *of_ann, first_of_ann, second, third, first_of_ben = export()
    assert len(of_ann) == 2
    for entry in of_ann:
        assert math.isnan(entry["state"].pop("rate"))
        assert entry["state"] == {"answer": "d\u00e9j\u00e0 vu \u2028", "list": [1, 2]}
    assert first_of_ann["state"] == first_of_ben["state"] == {"n": 1}
    assert all("it is not JSON" in entry["damaged"] for entry in (second, third))


def test_a_long_history_is_read_in_pages(client: Any, export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = write_history(client, revisions=12)
    for long in (11, 12):
        monkeypatch.setattr(selection, "LONG", long)
        entries = list(Selection("default").entries())
        assert {(*key_of(json.loads(entry.line)),) for entry in entries} == expected
        assert [entry.key.revision for entry in entries] == [*range(12, 0, -1)] * 10
        assert all(json.loads(entry.line)["state"] == {"n": entry.key.revision - 1} for entry in entries)


@pytest.mark.parametrize("window", [1, 7, 2_000])
def test_windows_of_any_size_give_the_same(client: Any, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    write_history(client, revisions=6)
    next(Backfill("default", 33).pages())
    whole = list(Selection("default").entries())
    monkeypatch.setattr(selection, "WINDOW", window)
    assert list(Selection("default").entries()) == whole
    assert len(whole) == 60


def test_learners_who_are_gone_have_no_name(client: Any, export: Export) -> None:
    client.set("ann", make_block(), {"n": 1})
    get_user_model().objects.filter(username="ann")._raw_delete("default")
    (entry,) = export()
    assert entry["learner"] is None

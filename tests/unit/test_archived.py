"""The files of the archive, in a folder and in an object store, without a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from xblock_user_state.history.archived import catalogue, parts
from xblock_user_state.history.archived.coverage import Coverage
from xblock_user_state.history.archived.manifest import MANIFEST, Manifest, read_manifest, replace
from xblock_user_state.history.archived.parts import Archived, read_part, write_part
from xblock_user_state.history.archived.places import ArchiveError, Folder, Place, place_of

pytest.importorskip("pyarrow")

TIME = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
ADA, BEN = str(UUID(int=7)), str(UUID(int=8))


def entry(student_id: int | str = 7, block_id: int = -5, revision: int = 1, state: str | None = "{}") -> Archived:
    created = TIME + timedelta(minutes=revision % 1000)
    return Archived(student_id, block_id, "course", "block", revision, created, state, 0.5, None, None, student_id)


@pytest.fixture(params=["folder", "object store"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "archive")
        return
    memory = pytest.importorskip("fsspec").filesystem("memory")
    yield "memory://bucket/archive"
    memory.store.clear()


def archive(url: str, *files: list[Archived]) -> Place:
    place = place_of(url)
    for entries in files:
        before = read_manifest(place)
        replace(place, before, [*before.parts, write_part(place, entries, before.next_number)])
    return place


@pytest.mark.parametrize(
    "awkward",
    [
        entry(state=None),
        entry(state='{"a":NaN,"b":"\\u0000\\ud800"}'),
        entry(state='{"é": "\0 , \n"}'),
        entry()._replace(grade=float("nan"), max_grade=-0.0, version="", actor_id=None),
        entry()._replace(grade=None, context_key=None, usage_key=None),
        entry(2**63 - 1, -(2**63), 2**63 - 1),
    ],
)
def test_entries_come_back_as_they_were(tmp_path: Path, awkward: Archived) -> None:
    place = Folder(tmp_path)
    [found] = read_part(place, write_part(place, [awkward], 1))
    assert repr(found) == repr(awkward)


@pytest.mark.parametrize("ids", [(7, 8), (ADA, BEN)], ids=["numbers", "texts"])
def test_the_entries_of_a_learner_in_a_block_are_found(
    url: str, ids: tuple[int | str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "GROUP_ENTRIES", 7)
    every = [entry(student, block, each) for student in ids for block in (-5, 3) for each in range(1, 11)]
    place = archive(url, every[::-1])
    assert [*read_part(place, read_manifest(place).parts[0])] == every
    found = catalogue.entries_of(url, ids[1], -5, 10)
    assert sorted(found.values()) == [each for each in every if each[:2] == (ids[1], -5)]
    assert catalogue.entries_of(url, ids[1], 4, 10) == {}
    assert catalogue.entries_of(url, ids[1], -5, 11) == {}


@pytest.mark.parametrize("ids", [(7, 8), (ADA, BEN)], ids=["numbers", "texts"])
def test_a_check_finds_the_revisions_of_learners(
    url: str, ids: tuple[int | str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "GROUP_ENTRIES", 7)
    ann, ben = ids
    every = [entry(student, block, each) for student in ids for block in (-5, 3) for each in range(1, 11)]
    place = archive(url, every, [entry(ann, -5, 11)])
    found = Coverage(place).of({ann})
    assert found.revisions == {(ann, -5): {*range(1, 12)}, (ann, 3): {*range(1, 11)}}
    place.delete(read_manifest(place).parts[1].name)
    found = Coverage(place).of({ann, ben})
    assert (found.is_known(ann), found.is_known(ben)) == (False, True)
    assert found.revisions[ben, 3] == {*range(1, 11)}


def test_a_reader_finds_newer_files_and_their_entries_count(url: str) -> None:
    archive(url, [entry(state='{"a": 1}')])
    assert catalogue.entries_of(url, 7, -5, 1)[1].state == '{"a": 1}'
    archive(url, [entry(state='{"a": 2}'), entry(revision=2)])
    assert {each: one.state for each, one in catalogue.entries_of(url, 7, -5, 2).items()} == {1: '{"a": 2}', 2: "{}"}


def test_a_reader_notices_a_replaced_file(url: str) -> None:
    place = archive(url, [entry(), entry(8)])
    catalogue._footer.cache_clear()
    assert catalogue.entries_of(url, 8, -5, 1)
    [old] = (before := read_manifest(place)).parts
    replace(place, before, [write_part(place, [entry(8)], old.number)])
    place.delete(old.name)
    catalogue._group.cache_clear()
    catalogue._footer.cache_clear()
    assert catalogue.entries_of(url, 8, -5, 1)
    assert catalogue.entries_of(url, 7, -5, 1) == {}


def test_two_writers_are_noticed(url: str) -> None:
    place = archive(url, [entry()])
    before = read_manifest(place)
    replace(place, before, before.parts)
    with pytest.raises(ArchiveError, match="another process has written to the archive"):
        replace(place, before, before.parts)


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    first, second = place_of(str(tmp_path)), place_of(f"file://{tmp_path}")
    with first.alone(), pytest.raises(ArchiveError, match="another process writes to"), second.alone():
        pass
    with place_of(str(tmp_path)).alone():
        assert place_of(str(tmp_path)).names() == []


def test_damage_is_named(url: str) -> None:
    place = archive(url, [entry()])
    [part] = read_manifest(place).parts
    place.write(part.name, place.read(part.name)[:-1] + b"x")
    with pytest.raises(ArchiveError, match="is damaged: its size or SHA-256"):
        read_part(place, part)
    place.write(MANIFEST, b'{"format": 1}')
    with pytest.raises(ArchiveError, match="is not the manifest"):
        read_manifest(place)
    place.write(MANIFEST, b"{")
    with pytest.raises(ArchiveError, match="is damaged"):
        read_manifest(place)


def test_a_manifest_says_all_of_its_files(tmp_path: Path) -> None:
    archive(str(tmp_path), [entry(), entry(8)])
    manifest = json.loads((tmp_path / MANIFEST).read_bytes())
    [file] = manifest.pop("files")
    assert manifest == {"format": "xblock-user-state archive", "version": 1, "generation": 1, "entries": 2}
    assert {**file, "name": "", "bytes": 0, "sha256": ""} == {
        "name": "", "number": 1, "entries": 2, "first_learner": 7, "last_learner": 8, "bytes": 0, "sha256": "",
    }  # fmt: skip


def test_an_empty_place_has_no_files(url: str) -> None:
    assert read_manifest(place_of(url)) == Manifest()
    assert place_of(url).names() == []
    place_of(url).delete("not there")


def test_an_unknown_store_is_named() -> None:
    with pytest.raises(ArchiveError, match="nowhere://bucket"):
        place_of("nowhere://bucket")

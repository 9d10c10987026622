"""Erases deleted learners and blocks from the files of the archive, and verifies the files.

A deletion for good leaves tombstones among the watermarks (`history.watermarks`). A file with entries of such owners is
written anew without them; the manifest names the new file in the place of the old one, in one step; then the old file
and the tombstones are deleted. A process that is killed in between leaves tombstones, and the next run does the rest.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from django.db.models import Exists, F, OuterRef

from xblock_user_state.history.archived.coverage import Coverage
from xblock_user_state.history.archived.lookup import archived_id
from xblock_user_state.history.archived.manifest import MANIFEST, Id, Manifest, Part, read_manifest, replace
from xblock_user_state.history.archived.parts import check_part, read_part, write_part
from xblock_user_state.history.archived.places import ArchiveError, Place
from xblock_user_state.history.entries import TOMBSTONE, Owner, all_rows, delete_rows
from xblock_user_state.history.models import HistoryWatermark
from xblock_user_state.maintenance.paging import PAGE, rows_of
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import errors_translated

TOMBSTONES = 20_000
"""Tombstones that are erased together: each file with such entries is written once for them."""

_ASKED = 10
"""Histories that are looked for in an archive, to tell whether it is this site's."""


class Erased(NamedTuple):
    """Numbers of a round: learners' blocks that were erased, entries that left the archive, and files written anew."""

    owners: int = 0
    entries: int = 0
    files: int = 0


def erase(database: str, place: Place) -> Iterator[Erased]:
    """Erase all owners with tombstones from the archive at `place`. Yields after each round.

    Call it while no other process writes to the archive. Raises `ArchiveError`, ``OSError`` or a database error.
    """
    while owners := _tombstones(database):
        done = _erase_from_files(place, {(archived_id(student_id), block_id) for student_id, block_id in owners})
        _delete_tombstones(database, owners)
        yield done._replace(owners=len(owners))


def refuse_other_archive(database: str, place: Place) -> None:
    """Raise `ArchiveError` if `place` can't be the archive of this database.

    It has no manifest, and another archive has entries: early ones, or of deleted owners. Or it has entries, and none
    of those that left this database: it is another site's.
    """
    manifest = read_manifest(place)
    archived = all_rows(HistoryWatermark, database).filter(last_archived__gt=0)
    # As in `Watermark.missing`.
    early = archived.filter(
        first_kept__gt=1, first_archived__lt=F("first_kept"), first_archived__lte=F("last_archived")
    )
    with errors_translated(database):
        some = [Owner(*owner) for owner in early.order_by(*Owner._fields).values_list(*Owner._fields)[:_ASKED]]
        if not manifest.generation and (some or archived.filter(first_kept=TOMBSTONE).exists()):
            raise ArchiveError(
                f"early entries are in an archive already, and here is no {MANIFEST}: {place}. Name that archive; if "
                "it is to be here, copy all of its files first"
            )
        if manifest.parts and not some and not archived.exists():
            raise ArchiveError(
                f"this archive has entries, and this database has none in an archive: {place}. It is another site's, "
                "or the database came back from a backup that is older than the archive. Name an empty place"
            )
    if manifest.generation and some and not _has_any_owner(place, some):
        raise ArchiveError(
            f"this archive has no entries of those that left this database, such as learner {some[0].student_id}'s: "
            f"{place}. It is another site's, or its files are missing: check_history names them"
        )


def _has_any_owner(place: Place, owners: Collection[Owner]) -> bool:
    """Tell whether the archive has, or may have, entries of any of the owners."""
    keys = {(archived_id(student_id), block_id) for student_id, block_id in owners}
    covered = Coverage(place).of({student_id for student_id, _ in keys})
    return bool(covered.unreadable) or not keys.isdisjoint(covered.revisions)


def forget_dropped(database: str) -> None:
    """Delete the tombstones of owners of whom no archive has entries."""
    with errors_translated(database):
        delete_rows(all_rows(HistoryWatermark, database).filter(first_kept=TOMBSTONE, last_archived=0))


def bury_orphans(database: str, *, dry_run: bool = False) -> Iterator[Sequence[Owner]]:
    """Make tombstones of the watermarks without a state row, which SQL has deleted alone. Yields those of each page."""
    row = all_rows(StudentModule, database).filter(student_id=OuterRef("student_id"), block_id=OuterRef("block_id"))
    after: Owner | None = None
    while page := _page(database, after):
        marks = all_rows(HistoryWatermark, database).filter(rows_of(page), ~Exists(row), first_kept__gt=TOMBSTONE)
        with errors_translated(database):
            orphans = [Owner(*owner) for owner in marks.values_list(*Owner._fields)]
            if orphans and not dry_run:
                # Asked again, in the statement itself. Who begins the row later begins a new life.
                marks.update(first_kept=TOMBSTONE)
        yield orphans
        after = page[-1]


def remove_strays(place: Place) -> None:
    """Delete files that no manifest names: of processes that were killed before it did.

    Call it while no other process writes to the archive. Raises `ArchiveError` or ``OSError``.
    """
    named = {part.name for part in read_manifest(place).parts} | {MANIFEST}
    for name in place.names():
        # No other files of an operator's folder.
        if name not in named and name.lstrip(".").startswith(("part-", MANIFEST)):
            place.delete(name)


def damaged_files(place: Place) -> Iterator[tuple[Part, str | None]]:
    """Yield each file that the manifest names, and its damage, if there is any. Reads all files.

    Raises `ArchiveError` or ``OSError`` if the manifest can't be read.
    """
    for part in read_manifest(place).parts:
        try:
            check_part(place, part)
        except FileNotFoundError:
            # A store's error has the name alone.
            yield part, f"{part.name} is missing: {place}"
        except (ArchiveError, OSError) as error:
            yield part, str(error)
        else:
            yield part, None


def _page(database: str, after: Owner | None) -> list[Owner]:
    rows = all_rows(HistoryWatermark, database)
    # As in `paging.owner_pages`.
    left = rows if after is None else rows.filter(student_id__gte=after.student_id, pk__gt=after)
    with errors_translated(database):
        return [Owner(*row) for row in left.order_by(*Owner._fields).values_list(*Owner._fields)[:PAGE]]


def _tombstones(database: str) -> list[Owner]:
    rows = all_rows(HistoryWatermark, database).filter(first_kept=TOMBSTONE)
    with errors_translated(database):
        return [Owner(*row) for row in rows.values_list("student_id", "block_id")[:TOMBSTONES]]


def _delete_tombstones(database: str, owners: Sequence[Owner]) -> None:
    # No watermark begins where a tombstone is, so these are the same ones.
    with errors_translated(database):
        for some in pieces(database, owners, PAGE):
            delete_rows(all_rows(HistoryWatermark, database).filter(rows_of(some), first_kept=TOMBSTONE))


def _erase_from_files(place: Place, owners: Collection[tuple[Id, int]]) -> Erased:
    # All of one type, that of the user model's key.
    learners: list[Any] = sorted({student_id for student_id, _ in owners})
    manifest = read_manifest(place)
    entries = files = 0
    for part in manifest.parts:
        if not _has_any(part, learners):
            continue
        kept = [entry for entry in read_part(place, part) if (entry.student_id, entry.block_id) not in owners]
        if len(kept) < part.entries:
            manifest = _replaced(place, manifest, part, [write_part(place, kept, part.number)] if kept else [])
            entries += part.entries - len(kept)
            files += 1
    return Erased(entries=entries, files=files)


def _has_any(part: Part, learners: Sequence[Any]) -> bool:
    """Tell whether one of the learners, who are sorted, is in the range of a file."""
    if isinstance(learners[0], str) is not isinstance(part.first_learner, str):
        return False
    place = bisect_left(learners, part.first_learner)
    return place < len(learners) and part.may_have(learners[place])


def _replaced(place: Place, manifest: Manifest, old: Part, new: Sequence[Part]) -> Manifest:
    others = [part for part in manifest.parts if part.name != old.name]
    after = replace(place, manifest, [*others, *new])
    place.delete(old.name)
    return after

"""The manifest of an archive: the list of its files, in JSON. Needs no Django.

A file belongs to the archive once the manifest names it. The manifest is replaced in one step, so an interrupted writer
leaves the old archive or the new one, and perhaps a file that nobody names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from xblock_user_state.history.archived.places import ArchiveError, Place

FORMAT = "xblock-user-state archive"
VERSION = 1
MANIFEST = "manifest.json"

Id = int | str
"""The id of a learner: a number, or the text of an id of another type."""


class Part(NamedTuple):
    """A file of the archive. ``number`` counts the files in the order of their runs: of two entries the newer counts.

    A file that replaces another, without the entries of learners who were erased, has its number.
    """

    name: str
    number: int
    entries: int
    first_learner: Id
    last_learner: Id
    bytes: int
    sha256: str

    def may_have(self, student_id: Id) -> bool:
        """Tell whether a learner is in the range of the file."""
        is_text = isinstance(student_id, str)
        # A host that has changed the type of its users' ids has begun a new archive, too.
        if isinstance(self.first_learner, str) is not is_text:
            return False
        return self.first_learner <= student_id <= self.last_learner  # type: ignore[operator]


@dataclass(frozen=True)
class Manifest:
    """The files of an archive, by rising number. ``generation`` counts the manifests."""

    generation: int = 0
    parts: tuple[Part, ...] = ()

    @property
    def next_number(self) -> int:
        """The number of the next file."""
        return max((part.number for part in self.parts), default=0) + 1


def read_manifest(place: Place) -> Manifest:
    """Return the manifest of a place, an empty one if there is none. Raises ``OSError`` or `ArchiveError`."""
    try:
        content = place.read(MANIFEST)
    except FileNotFoundError:
        return Manifest()
    try:
        found: Any = json.loads(content)
        if found["format"] != FORMAT:
            raise ArchiveError(f"{MANIFEST} is not the manifest of an archive of the history: {place}")
        if found["version"] != VERSION:
            raise ArchiveError(f"{MANIFEST} has the version {found['version']}; this program reads {VERSION}: {place}")
        return Manifest(found["generation"], tuple(Part(**part) for part in found["files"]))
    except (ValueError, LookupError, TypeError) as error:
        raise ArchiveError(f"{MANIFEST} is damaged: {error}: {place}") from error


def manifest_of_archive(place: Place) -> Manifest:
    """Return the manifest of a place that must be an archive. Raises ``OSError``, or `ArchiveError` if it is none."""
    found = read_manifest(place)
    if not found.generation:
        raise ArchiveError(f"this is no archive of the history, it has no {MANIFEST}: {place}")
    return found


def begin(place: Place) -> None:
    """Write an empty manifest if there is none: deletions are erased from archives only. Raises as `replace` does."""
    if not read_manifest(place).generation:
        replace(place, Manifest(), [])


def replace(place: Place, before: Manifest, parts: Sequence[Part]) -> Manifest:
    """Replace the manifest `before` by one of these files, and return it. Raises ``OSError`` or `ArchiveError`.

    An object store has no locks: a manifest of another writer is noticed here, unless both write at the same moment.
    """
    if read_manifest(place).generation != before.generation:
        raise ArchiveError(f"another process has written to the archive; run the command again after it: {place}")
    after = Manifest(before.generation + 1, tuple(sorted(parts, key=lambda part: part.number)))
    content = {
        "format": FORMAT,
        "version": VERSION,
        **asdict(after),
        "entries": sum(part.entries for part in after.parts),
        "files": [part._asdict() for part in after.parts],
    }
    del content["parts"]
    place.write(MANIFEST, json.dumps(content, indent=1).encode())
    return after

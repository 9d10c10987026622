"""Finds the entries of a learner in a block among the files of an archive. Needs no Django.

A process keeps the manifest and the footers of the files that it has read, and the last groups: the next block of the
same learner, or the next learner, is mostly in the same group. Files never change under their names, so only the
manifest may be stale. A reader who misses an entry in it reads it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from xblock_user_state.history.archived.manifest import Id, Manifest, manifest_of_archive
from xblock_user_state.history.archived.parts import Archived, footer_of, groups_of, of_owner, read_group
from xblock_user_state.history.archived.places import Place, place_of

_FOOTERS = 1_000
_GROUPS = 4

_manifests: dict[str, Manifest] = {}
_place = lru_cache(8)(place_of)


def entries_of(url: str, student_id: Id, block_id: int, newest: int) -> Mapping[int, Archived]:
    """Return the entries of a learner in a block by revision, also those after the revision `newest`.

    Empty if the archive has no entry of the revision `newest`. Raises ``OSError`` or `ArchiveError`.
    """
    place = _place(url)
    known = _manifests.get(url)
    found: dict[int, Archived] = {}
    if known is not None:
        # A file that is gone was replaced since, because a learner was erased.
        with suppress(FileNotFoundError):
            found = _find(place, known, student_id, block_id)
    if newest not in found:
        _manifests[url] = manifest_of_archive(place)
        found = _find(place, _manifests[url], student_id, block_id)
    return found if newest in found else {}


def _find(place: Place, manifest: Manifest, student_id: Id, block_id: int) -> dict[int, Archived]:
    found: dict[int, Archived] = {}
    # By rising number: of two entries of a revision the newer file's is that of the table.
    for part in manifest.parts:
        if part.may_have(student_id):
            for number in groups_of(_footer(place, part.name), student_id, block_id):
                table = _group(place, part.name, number)
                found |= {entry.revision: entry for entry in of_owner(table, student_id, block_id)}
    return found


@lru_cache(_FOOTERS)
def _footer(place: Place, name: str) -> Any:
    with place.open(name) as file:
        return footer_of(file)


@lru_cache(_GROUPS)
def _group(place: Place, name: str, number: int) -> Any:
    with place.open(name) as file:
        return read_group(file, _footer(place, name), number)

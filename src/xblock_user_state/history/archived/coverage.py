"""The revisions that the files of an archive have, for checks of many learners. Needs no Django.

Reads three columns of the groups that may have the learners. Learners come in order, so the next ones are mostly in the
same groups, which are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

from xblock_user_state.history.archived.manifest import Id, Part, read_manifest
from xblock_user_state.history.archived.parts import footer_of, groups_between, keys_of, read_group
from xblock_user_state.history.archived.places import ArchiveError, Place

_GROUPS = 64


class Covered(NamedTuple):
    """Revisions by learner and block, and the files that can't be read, which may have more."""

    revisions: dict[tuple[Id, int], set[int]]
    unreadable: list[Part]

    def is_known(self, student_id: Id) -> bool:
        """Tell whether all files with entries of a learner could be read."""
        return not any(part.may_have(student_id) for part in self.unreadable)


class Coverage:
    """The archive at `place`, as its manifest was at the first look, or at the last `renew`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._parts: tuple[Part, ...] | None = None
        self._footer = lru_cache(1_000)(self._read_footer)
        self._keys = lru_cache(_GROUPS)(self._read_keys)

    def renew(self) -> None:
        """Read the manifest again. Raises ``OSError`` or `ArchiveError`."""
        self._parts = read_manifest(self._place).parts

    def of(self, learners: Collection[Id]) -> Covered:
        """Return the revisions of some learners. Raises ``OSError`` or `ArchiveError` if the manifest can't be read."""
        if self._parts is None:
            self.renew()
        found: dict[tuple[Id, int], set[int]] = defaultdict(set)
        unreadable = []
        for part in self._parts or ():
            if any(map(part.may_have, learners)):
                try:
                    self._add(found, part.name, learners)
                except (ArchiveError, OSError):
                    unreadable.append(part)
        return Covered(found, unreadable)

    def _add(self, found: dict[tuple[Id, int], set[int]], name: str, learners: Collection[Id]) -> None:
        lowest, highest = min(learners), max(learners)
        for number in groups_between(self._footer(name), lowest, highest):
            for student_id, block_id, revision in self._keys(name, number):
                if student_id in learners:
                    found[student_id, block_id].add(revision)

    def _read_footer(self, name: str) -> Any:
        with self._place.open(name) as file:
            return footer_of(file)

    def _read_keys(self, name: str, number: int) -> list[tuple[Id, int, int]]:
        with self._place.open(name) as file:
            return keys_of(read_group(file, self._footer(name), number, keys_only=True))

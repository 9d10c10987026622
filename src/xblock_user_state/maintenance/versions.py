"""Reads the entries of one row as a chain of versions, for `repair`: a version of each revision that can be read.

Two stores may have different entries of one revision. Each difference is a version, and each version knows the version
before it: a delta tells by its checksum, another entry takes the version of its own store. The newest version that the
state agrees with leads back to the version of each revision that belongs to the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from xblock_user_state.history.encoding import LOST, MAX_CHAIN, Decoded, closed_off, encode_compact, is_delta
from xblock_user_state.history.entries import EntryRow
from xblock_user_state.history.models import stored
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.rules import are_apart, decode_checked
from xblock_user_state.store.models import StudentModule


@dataclass
class Version:
    """One version of a revision: an entry, and its encoding and body as they should be stored."""

    copies: Sequence[EntryRow]
    """All entries of the revision, of this version and of others, in the order in which entries move."""
    entry: EntryRow
    encoding: int
    body: bytes | None
    text: str | DamagedHistory | None
    place: int
    """The place in the chain of deltas: 1 for a full entry, one more for each delta; 0 without a text."""
    previous: Version | None
    is_single: bool = True
    """Tell whether the revision has no other version that can be read."""
    act: str | None = None
    """The change of encoding and body, for people."""

    @property
    def revision(self) -> int:
        """The revision of the entry."""
        return self.entry.revision

    @property
    def is_readable(self) -> bool:
        """Tell whether there is a text, or ``None`` for a state that never existed."""
        return not isinstance(self.text, DamagedHistory)

    @property
    def is_lost(self) -> bool:
        """Tell whether the entry is closed off, and still can't be read."""
        return self.encoding == LOST

    def equals(self, other: Version) -> bool:
        """Tell whether two entries of a revision have the same content. Damaged entries never do."""
        same = [
            (version.text, entry.grade, entry.max_grade, entry.actor_id, entry.version)
            for version in (self, other)
            for entry in [version.entry]
        ]
        times = sorted((self.entry.created, other.entry.created))
        return self.is_readable and same[0] == same[1] and not are_apart(*times)

    def agrees(self, row: StudentModule) -> bool:
        """Tell whether the entry has the state and the score of the row."""
        content = (self.text, self.entry.grade, self.entry.max_grade)
        return self.is_readable and content == (row.state, row.grade, row.max_grade)


def versions_of(row: StudentModule, entries: Iterable[EntryRow]) -> list[Version]:
    """Return the version of each revision that belongs to the state, oldest first. Only the last one has its text.

    `entries` are all entries of the row, by rising revision, copies in the order in which entries move.
    """
    ends: list[Version] = []
    for _, copies in groupby(entries, key=attrgetter("revision")):
        before, ends = ends, _next_versions(ends, list(copies))
        # Texts are much larger than entries, and no later entry builds on these. An error stays, as the reason.
        for old in before:
            old.text = None if old.is_readable else old.text
    # Sorted is stable: without an agreement the version that readers see is the first.
    ends.sort(key=lambda version: not version.agrees(row))
    chosen: list[Version] = []
    version: Version | None = ends[0] if ends else None
    while version is not None:
        chosen.append(version)
        version = version.previous
    return chosen[::-1]


def _next_versions(before: Sequence[Version], copies: Sequence[EntryRow]) -> list[Version]:
    """Return the readable versions of a revision, or the first damaged one."""
    found: list[Version] = []
    for copy in copies:
        version = _read(before, copies, copy)
        if not any(version.equals(other) for other in found):
            found.append(version)
    readable = [version for version in found if version.is_readable]
    for version in readable:
        version.is_single = len(readable) == 1
    return readable or found[:1]


def _read(before: Sequence[Version], copies: Sequence[EntryRow], copy: EntryRow) -> Version:
    """Return the version of an entry, read on the first version before it that makes it readable."""
    as_stored = stored(copy)
    # The base of an entry that was closed off may be back.
    inside = closed_off(as_stored)
    entry = inside or as_stored
    # Stable: after the store of this entry, in the order in which readers ask.
    bases: list[Version | None] = [*sorted(before, key=lambda version: version.entry.store is not copy.store)]
    versions = []
    for base in bases or [None]:
        text = decode_checked(entry, _decoded(base))
        place = base.place + 1 if base is not None and is_delta(entry.encoding) else int(text is not None)
        versions.append(Version(copies, copy, entry.encoding, entry.body, text, place, base))
    version = next((each for each in versions if each.is_readable), versions[0])
    if inside and version.is_readable:
        version.act = f"revision {entry.revision} can be read again"
    elif inside:
        version.encoding, version.body = as_stored.encoding, as_stored.body
    if version.is_readable and isinstance(version.text, str) and version.place > MAX_CHAIN:
        version.act = f"revision {entry.revision} built on {version.place - 1} others; it is stored in full"
        version.encoding, version.body = encode_compact(version.text, None)
        version.place = 1
    return version


def _decoded(version: Version | None) -> Decoded:
    return (0, None) if version is None else (version.revision, version.text)

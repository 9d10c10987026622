"""Compares the old tables with ours, learner by learner: states field by field, scores, and history on request."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from typing import Any, NamedTuple

from xblock_user_state.history.entries import Owner, all_rows
from xblock_user_state.openedx.importing.building import Source, sources_of, state_of
from xblock_user_state.openedx.importing.comparing_history import MOST_ROWS, HistoryComparison, OldRow
from xblock_user_state.openedx.importing.fields import PLACES, FieldImport
from xblock_user_state.openedx.importing.passes import groups
from xblock_user_state.openedx.importing.storing import known
from xblock_user_state.openedx.old.reading import OldSite, Selection
from xblock_user_state.openedx.old.reasons import Line
from xblock_user_state.openedx.old.tables import INFO, PREFERENCES, SUMMARIES
from xblock_user_state.state.codec import NotAState, decode_state, encode
from xblock_user_state.state.comparison import diff
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.models import Block, StudentModule
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.users import usernames

_PAGE = 500
_ROWS = 1000
_SHOWN = 80
_MODULUS = 2**64


class Difference(NamedTuple):
    """A field that differs: its learner, ``None`` for a summary; its block or block type; and both values as texts."""

    learner: int | None
    owner: str
    field: str
    old: str
    ours: str

    def __str__(self) -> str:
        whose = "" if self.learner is None else f"learner {self.learner}, "
        return f"{whose}{self.owner}: {self.field}: old {self.old}, ours {self.ours}"


@dataclass
class Sums:
    """The number of rows of a course, and the sum of their checksums, in the old tables and in ours."""

    old: int = 0
    ours: int = 0
    old_sum: int = 0
    ours_sum: int = 0

    def add_old(self, source: Source, content: Sequence[object], done: str) -> None:
        """Add a row of the old tables."""
        self.old += 1
        self.old_sum = (self.old_sum + _checksum(source, content, done)) % _MODULUS

    def add_ours(self, source: Source, content: Sequence[object], done: str) -> None:
        """Add a row of ours."""
        self.ours += 1
        self.ours_sum = (self.ours_sum + _checksum(source, content, done)) % _MODULUS

    def __str__(self) -> str:
        return f"old {self.old:,} rows, sum {self.old_sum:x}; ours {self.ours:,} rows, sum {self.ours_sum:x}"


@dataclass
class Comparison:
    """One comparison of the old `site` with the state's `database`.

    Rows that the import leaves out are left out here too: keys that are none, learners without an account. Times are
    not compared, because this store moves them apart and writes of both stores take their own.
    """

    site: OldSite
    database: str
    selection: Selection = field(default_factory=Selection)
    with_history: bool = False
    courses: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    counts: Counter[str] = field(default_factory=Counter)
    """Numbers of differences by field."""

    def run(self) -> Iterator[tuple[int, list[Difference]]]:
        """Yield the number of old rows and the differences, for each group of learners; then those of summaries."""
        for group in groups(self.site, self.selection):
            yield self._counted(*self._of_learners(group))
        for found in self._only_here():
            yield self._counted(0, found)
        if self.selection.first is None:
            for found in chain(self._summaries(), self._summaries_only_here()):
                yield self._counted(0, found)

    def _counted(self, rows: int, found: list[Difference]) -> tuple[int, list[Difference]]:
        self.counts.update(difference.field for difference in found)
        return rows, found

    def _of_learners(self, learners: Sequence[int]) -> tuple[int, list[Difference]]:
        alive = usernames(learners)
        present = [learner for learner in learners if learner in alive]
        ignored: list[Line] = []
        modules = self.site.modules(present, self.selection)
        sources = sources_of(modules, ignored)
        found: list[Difference] = []
        size = MOST_ROWS if self.with_history else _ROWS
        for start in range(0, len(sources), size):
            found += self._of_sources(sources[start : start + size])
        if self.selection.course_id is None:
            for table in (PREFERENCES, INFO):
                found += self._of_fields(table, present)
        return len(modules), found

    def _of_sources(self, sources: Sequence[Source]) -> Iterator[Difference]:
        ignored: list[Line] = []
        rows = self.site.rows([module.id for source in sources for module in source.modules])
        stored = known(
            self.database, [Owner(source.student_id, source.block.id) for source in sources], lock=False
        ).rows
        both: list[OldRow] = []
        for source in sources:
            old, ours = state_of(source, rows, ignored), stored.get(Owner(source.student_id, source.block.id))
            if old is None:
                continue
            sums = self.courses[source.block.context_key]
            sums.add_old(source, old.content, old.done)
            if ours is None:
                yield Difference(source.student_id, _name(source.block), "row", f"id {old.id}", "none")
                continue
            sums.add_ours(source, ours.content, ours.done)
            for name, one, other in _differences((*old.content, old.done), (*ours.content, ours.done)):
                yield Difference(source.student_id, _name(source.block), name, one, other)
            both.append(OldRow(source, old))
        if self.with_history:
            for source, *values in HistoryComparison(self.site, self.database).of_rows(both):
                yield Difference(source.student_id, _name(source.block), "history", *values)

    def _of_fields(self, table: str, owners: Sequence[Any]) -> Iterator[Difference]:
        importing = self._fields()
        found = importing.mapped(table, owners, [])
        stored = importing.stored(PLACES[table], owners if table != SUMMARIES else [key[0] for key in found])
        names = self._block_names(key[0] for key in [*found, *stored]) if table == SUMMARIES else {}
        for key in sorted({*found, *stored}):
            learner = None if table == SUMMARIES else key[0]
            owner = (
                names.get(key[0], str(key[0])) if table == SUMMARIES else str(key[1]) if len(key) > 1 else "user_info"
            )
            old, ours = found.get(key), stored.get(key)
            for name, one, other in _state_differences(old.text if old else None, ours.text if ours else None):
                yield Difference(learner, owner, name, one, other)

    def _summaries(self) -> Iterator[list[Difference]]:
        after = None
        while SUMMARIES in self.site.fields:
            usage_ids = self.site.field_owners(SUMMARIES, after, _PAGE, self.selection)
            if not usage_ids:
                return
            yield list(self._of_fields(SUMMARIES, usage_ids))
            after = usage_ids[-1]

    def _summaries_only_here(self) -> Iterator[list[Difference]]:
        importing = self._fields()
        for keys in importing.summaries_only_here():
            stored = importing.stored(PLACES[SUMMARIES], [key[0] for key in keys])
            names = self._block_names(block_id for [block_id] in stored)
            yield [
                Difference(None, names.get(block_id, str(block_id)), *difference)
                for [block_id], row in stored.items()
                for difference in _state_differences(None, row.text)
            ]

    def _fields(self) -> FieldImport:
        return FieldImport(self.site, self.database, dry_run=True, course_id=self.selection.course_id)

    def _only_here(self) -> Iterator[list[Difference]]:
        """Yield our rows that no old row stands behind: they were deleted there since, or are new here."""
        after: Owner | None = None
        while True:
            page = self._page_of_ours(after)
            if not page:
                return
            ignored: list[Line] = []
            learners = sorted({owner.student_id for owner in page})
            sources = sources_of(self.site.modules(learners, self.selection), ignored)
            old = {Owner(source.student_id, source.block.id) for source in sources}
            extra = [owner for owner in page if owner not in old]
            names = self._block_names(owner.block_id for owner in extra)
            yield [
                Difference(owner.student_id, names.get(owner.block_id, str(owner.block_id)), "row", "none", "one")
                for owner in extra
            ]
            after = page[-1]

    def _page_of_ours(self, after: Owner | None) -> list[Owner]:
        rows = all_rows(StudentModule, self.database)
        first, last, course_id = self.selection
        if first is not None:
            rows = rows.filter(student_id__gte=first)
        if last is not None:
            rows = rows.filter(student_id__lte=last)
        if course_id is not None:
            rows = rows.filter(block__context__key=course_id)
        if after is not None:
            # The first condition follows from the second. MariaDB needs it: it makes no index range of the other.
            rows = rows.filter(student_id__gte=after.student_id, pk__gt=after)
        return [
            Owner(*each)
            for each in rows.order_by("student_id", "block_id").values_list("student_id", "block_id")[:_PAGE]
        ]

    def _block_names(self, block_ids: Iterable[int]) -> dict[int, str]:
        rows = all_rows(Block, self.database)
        return {
            id_: f"{usage_key} in {context}"
            for ids in pieces(self.database, sorted(set(block_ids)), _ROWS)
            for id_, usage_key, context in rows.filter(id__in=ids).values_list("id", "usage_key", "context__key")
        }


def _checksum(source: Source, content: Sequence[object], done: str) -> int:
    """Return a checksum of a row. Sums of them do not depend on the order of the rows."""
    text = "\n".join(map(str, (source.student_id, source.block.id, *content, done)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _name(block: BlockId) -> str:
    return f"{block.usage_key} in {block.context_key}"


def _differences(old: Sequence[Any], ours: Sequence[Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name and both values, as texts, of what differs between state, grade, maximum and ``done``."""
    yield from _state_differences(old[0], ours[0])
    for name, one, other in zip(("grade", "max_grade", "done"), old[1:], ours[1:], strict=True):
        if one != other:
            yield name, repr(one), repr(other)


def _state_differences(old: str | None, ours: str | None) -> Iterator[tuple[str, str, str]]:
    if old == ours:
        return
    try:
        changes = diff(None if old is None else decode_state(old), None if ours is None else decode_state(ours))
    except NotAState as error:
        yield "state", "a state", str(error)
        return
    for change in changes:
        yield (
            change.field,
            "absent" if change.kind == "added" else _excerpt(change.old),
            "absent" if change.kind == "removed" else _excerpt(change.new),
        )
    if not changes:
        # NULL and {}, or the same fields in another order.
        yield "state", _excerpt(old), _excerpt(ours)


def _excerpt(value: object) -> str:
    text = encode(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

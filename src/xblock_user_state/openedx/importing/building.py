"""Builds the row and the history of one learner in one block from the old rows. Sends no statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from xblock_user_state import conf
from xblock_user_state.history.encoding import checksum, encode_compact, encode_plain, next_chain
from xblock_user_state.history.entries import Owner
from xblock_user_state.openedx.importing.spool import Spool
from xblock_user_state.openedx.old.keys import Unmapped, block_of
from xblock_user_state.openedx.old.merging import NO_TIME, merged
from xblock_user_state.openedx.old.reasons import Line, Reason
from xblock_user_state.openedx.old.tables import MODULES, Entry, Module, ModuleRow
from xblock_user_state.openedx.old.values import excerpt, higher_score, number, state_text
from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.dialects.rows import Values

_TICK = timedelta(microseconds=1)
_DONE = ("na", "f", "i")
_PROBLEM = "problem"
_NO_SCORE = (None, None)

Content = tuple[str | None, float | None, float | None]
"""State, grade and maximum."""


class Source(NamedTuple):
    """The old rows about one learner and block. Nearly always it is one row."""

    student_id: int
    block: BlockId
    modules: Sequence[Module]

    @property
    def owner(self) -> Owner:
        """The key of the row."""
        return Owner(self.student_id, self.block.id)

    @property
    def ids(self) -> list[int]:
        """The old ids."""
        return [module.id for module in self.modules]


class Start(NamedTuple):
    """The start of a build: the first revisions may be left out, and entries after stored ones begin a chain."""

    revision: int = 0
    """The last revision that is left out."""
    modified: datetime | None = None
    """Its time."""
    restart: int | None = None
    """A revision whose entry is a full one, because it follows entries that are stored already."""


FIRST = Start()
"""The start of a history that is built whole, for a row that is not here."""


def sources_of(modules: Sequence[Module], lines: list[Line]) -> list[Source]:
    """Return the learners and blocks that the rows are about, in the order of their keys."""
    found: dict[tuple[int, int], tuple[BlockId, list[Module]]] = {}
    for module in modules:
        mapped = block_of(module.course_id, module.module_id)
        if isinstance(mapped, Unmapped):
            lines.append(Line(MODULES, module.id, mapped.reason, mapped.detail))
            continue
        lines += [Line(MODULES, module.id, *note) for note in mapped.notes]
        block = mapped.block
        if module.module_type != block.block_type:
            detail = f"module_type {module.module_type!r}, block {block.usage_key}"
            lines.append(Line(MODULES, module.id, Reason.MODULE_TYPE, detail))
        found.setdefault((module.student_id, block.id), (block, []))[1].append(module)
    return [Source(student_id, block, own) for (student_id, _), (block, own) in sorted(found.items())]


@dataclass
class Chain:
    """The entries of one learner and block, encoded as the recorder would have written them one by one."""

    source: Source
    start: Start = FIRST
    is_recorded: bool = False
    writes_deltas: bool = field(default_factory=conf.writes_deltas)
    entries: Spool = field(default_factory=Spool)
    before_restart: Content | None = None
    """State and score of the entry before the restart."""
    content: Content | None = None
    place: int = 0

    def __post_init__(self) -> None:
        self.owner = self.source.owner
        self.revision, self.modified, self.restart = self.start

    def add(self, created: datetime, content: Content, version: str | None) -> None:
        """Append an entry. Its time is later than that of the entry before."""
        _, grade, max_grade = content
        self.revision += 1
        self.modified = next_time(created, self.modified)
        encoding, body = self._encoded(content)
        self.entries.append((*self.owner, self.revision, self.modified, encoding, grade, max_grade, version, body))
        if self.revision + 1 == self.restart:
            self.before_restart = content
        self.content = content

    def _encoded(self, content: Content) -> tuple[int, bytes | None]:
        text, before = content[0], self.content[0] if self.content else None
        if text is None:
            self.place = 0
        # A delta that changes nothing would be taken for a fault: the platform saved many a state twice.
        elif before is None or content == self.content or self.revision == self.restart or not self.writes_deltas:
            self.place = 1
        else:
            self.place = next_chain(self.place)
        if not self.writes_deltas:
            return encode_plain(text)
        return encode_compact(text, before if self.place > 1 else None)


def next_time(created: datetime, before: datetime | None) -> datetime:
    """Return the time of an entry that was created then: later than that of the entry before."""
    return created if before is None or created > before else before + _TICK


class Built(NamedTuple):
    """A row with its history, ready to be stored."""

    source: Source
    row: Row
    done: str
    start: Start
    entries: Spool
    """The entries that follow the start."""
    before_restart: Content | None

    @property
    def values(self) -> Values:
        """The values of the columns `ROW_COLUMNS`."""
        row = self.row
        return (
            *(*self.source.owner, row.revision, row.text, row.created, row.modified),
            *(row.grade, row.max_grade, row.chain, row.checksum, self.done),
        )


ROW_COLUMNS = (
    *("student_id", "block_id", "revision", "state", "created", "modified"),
    *("grade", "max_grade", "history_chain", "history_checksum", "done"),
)
ENTRY_COLUMNS = (
    *("student_id", "block_id", "revision", "created", "encoding", "grade", "max_grade", "version", "body"),
)


class OldState(NamedTuple):
    """The mapped values of an old row."""

    content: Content
    done: str
    created: datetime
    modified: datetime
    id: int


def build(
    source: Source,
    entries: Iterable[Entry],
    rows: Callable[[], Mapping[int, ModuleRow]],
    lines: list[Line],
    start: Start = FIRST,
) -> Built | None:
    """Build the row and the history of one learner and block; ``None`` if its old rows are gone meanwhile.

    `entries` are sorted (`merging.in_order`), and follow those that the `start` leaves out. `rows` is called after they
    are read: a row that is newer than its history becomes one more entry, and the next catch-up finds the same.
    Appends `lines` to the report.
    """
    is_recorded = conf.is_recorded(source.block.block_type)
    chain = Chain(source, start, is_recorded)
    had_entries = False
    for entry in merged(entries):
        had_entries = True
        chain.add(entry.created or NO_TIME, _entry_content(entry, lines), entry.version)
    whole = state_of(source, rows(), lines)
    if whole is None:
        return None
    _complete(chain, whole, lines, had_entries=had_entries)
    return Built(source, _row(chain, whole, lines), whole.done, start, chain.entries, chain.before_restart)


def contents(source: Source, entries: Iterable[Entry], old: OldState) -> Iterator[Content]:
    """Yield state and score of each entry that `build` makes of these `entries` and the row `old`, oldest first."""
    newest: Content | None = None
    has_history = conf.is_recorded(source.block.block_type)
    for entry in merged(entries):
        newest, has_history = _entry_content(entry, []), True
        yield newest
    # See `_complete`.
    if has_history and newest != old.content:
        yield old.content


def state_of(source: Source, rows: Mapping[int, ModuleRow], lines: list[Line]) -> OldState | None:
    """Return the state that the old rows give a learner in a block; ``None`` if they are gone."""
    found = [_old_row(rows[module.id], lines) for module in source.modules if module.id in rows]
    return _joined(source, found, lines) if found else None


def _entry_content(entry: Entry, lines: list[Line]) -> Content:
    text, reason = state_text(entry.state)
    if reason is Reason.BROKEN_STATE:
        lines.append(Line(entry.table, entry.id, Reason.BROKEN_HISTORY, excerpt(entry.state or "")))
    elif reason:
        lines.append(Line(entry.table, entry.id, reason, ""))
    if entry.created is None:
        lines.append(Line(entry.table, entry.id, Reason.ZERO_DATE, "created"))
    return text, *_score(entry.table, entry.id, (entry.grade, entry.max_grade), lines)


def _score(table: str, id_: int, score: tuple[object, object], lines: list[Line]) -> tuple[float | None, float | None]:
    if score == _NO_SCORE:
        return _NO_SCORE
    try:
        grade, max_grade = map(number, score)
    except ValueError:
        lines.append(Line(table, id_, Reason.BAD_SCORE, f"grade {score[0]}, max_grade {score[1]}"))
        return None, None
    return grade, max_grade


def _old_row(row: ModuleRow, lines: list[Line]) -> OldState:
    text, reason = state_text(row.state)
    if reason:
        lines.append(Line(MODULES, row.id, reason, excerpt(row.state or "")))
    done = row.done
    if done not in _DONE:
        lines.append(Line(MODULES, row.id, Reason.BAD_DONE, f"{done!r}"))
        done = "na"
    created, modified = row.created or row.modified or NO_TIME, row.modified or row.created or NO_TIME
    if row.created is None or row.modified is None:
        lines.append(Line(MODULES, row.id, Reason.ZERO_DATE, f"created {row.created}, modified {row.modified}"))
    elif created > modified:
        lines.append(Line(MODULES, row.id, Reason.CREATED_AFTER_MODIFIED, f"{created}, {modified}"))
    score = _score(MODULES, row.id, (row.grade, row.max_grade), lines)
    return OldState((text, *score), done, created, modified, row.id)


def _joined(source: Source, rows: Sequence[OldState], lines: list[Line]) -> OldState:
    """Return one row for all old rows about a block: the newer row, with the older creation and the higher score."""
    if len(rows) == 1:
        return rows[0]
    newest = max(rows, key=lambda row: (row.modified, row.id))
    lines += [
        Line(MODULES, row.id, Reason.TWO_ROWS, f"row {newest.id} is newer; both are {source.block.usage_key}")
        for row in rows
        if row is not newest
    ]
    score = higher_score((row.content[1], row.content[2]) for row in [newest, *rows])
    created = min(row.created for row in rows)
    return newest._replace(content=(newest.content[0], *score), created=created)


def _complete(chain: Chain, row: OldState, lines: list[Line], *, had_entries: bool) -> None:
    """Add an entry of the row if the newest one is another, or if a recorded block has none."""
    block_type = chain.source.block.block_type
    if not had_entries and not chain.is_recorded:
        return
    if had_entries and not chain.is_recorded:
        lines.append(Line(MODULES, row.id, Reason.HISTORY_NOT_RECORDED, f"{block_type}, {chain.revision} entries"))
    # Equal texts are equal states, NaN too.
    if chain.content == row.content:
        return
    if had_entries:
        lines.append(Line(MODULES, row.id, Reason.HISTORY_BEHIND, f"after {chain.revision} entries"))
    elif block_type == _PROBLEM:
        lines.append(Line(MODULES, row.id, Reason.HISTORY_MISSING, ""))
    chain.add(row.modified, row.content, None)


def _row(chain: Chain, old: OldState, lines: list[Line]) -> Row:
    modified = max(old.modified, chain.modified or old.modified)
    # Ties of entries were moved apart by microseconds, of which nobody needs to hear.
    if (modified - old.modified).total_seconds() >= 1:
        lines.append(Line(MODULES, old.id, Reason.MODIFIED_BEFORE_HISTORY, f"{old.modified}, {modified}"))
    is_chained = chain.is_recorded and chain.place > 0
    return Row(
        chain.revision or 1,
        *old.content,
        old.created,
        modified,
        chain.place if is_chained else 0,
        checksum(chain.revision, text) if is_chained and (text := old.content[0]) is not None else None,
    )

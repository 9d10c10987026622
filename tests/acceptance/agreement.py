"""State, revision and history agree for every row: the check at the end of most acceptance tests."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from itertools import groupby, pairwise
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from xblock_user_state.history.entries import extended_model
from xblock_user_state.history.reading import decode
from xblock_user_state.models import BaseStudentModuleHistory, HistoryOutbox, StudentModule, StudentModuleHistory

_ROW_COLUMNS = ("revision", "state", "grade", "max_grade", "created", "modified")


def assert_agreement() -> int:
    """Assert the laws of history for each row of `StudentModule`, and return the number of rows.

    All block types that were written to must be recorded ones. Each statement sees one moment, so the laws must hold
    even while others write.
    """
    assert not StudentModule.objects.filter(~Exists(_entries_of_row())).exists(), "a row without history"
    count = 0
    # Close the cursor after a failed assertion too: the next test may end the connection under it.
    with closing(_entries()) as all_entries:
        for _, entries in groupby(all_entries, key=lambda entry: (entry.student_id, entry.block_id)):
            _assert_one_row(list(entries))
            count += 1
    return count


Owner = tuple[int, int]
"""The learner's id and the block's id."""
Histories = Mapping[Owner, Sequence[BaseStudentModuleHistory]]


def assert_agreement_of_all_stores() -> Histories:
    """Assert the laws of history for the entries that readers see of each row, and that the stores hold no others.

    Call it when nobody writes and the outbox is shipped. Returns each row's entries, oldest first.
    """
    assert not HistoryOutbox.objects.exists(), "the outbox is not empty"
    histories = _histories_of({(row.student_id, row.block_id): row for row in StudentModule.objects.all()})
    for entries in histories.values():
        _assert_one_row(entries)
    stored = [*_keys_in(StudentModuleHistory), *_keys_in(extended_model())]
    assert len(stored) == len(set(stored)), "an entry is in two stores"
    seen = {(*owner, entry.revision) for owner, entries in histories.items() for entry in entries}
    assert set(stored) == seen, f"entries of nothing: {sorted(set(stored) - seen)[:5]}"
    return histories


def _histories_of(rows: Mapping[Owner, StudentModule]) -> dict[Owner, list[Any]]:
    """Return each row's history as readers see it, oldest first, with the row beside each entry as ``row_…``."""
    histories: dict[Owner, list[Any]] = {owner: [] for owner in rows}
    # Read all at once: the killed writers leave a thousand rows.
    for entry in reversed(BaseStudentModuleHistory.get_history(rows.values())):
        owner = entry.student_id, entry.block_id
        for column in _ROW_COLUMNS:
            setattr(entry, f"row_{column}", getattr(rows[owner], column))
        histories[owner].append(entry)
    for owner, row in rows.items():
        assert histories[owner], f"a row without history: {row}"
    return histories


def _keys_in(store: type[BaseStudentModuleHistory]) -> Iterable[tuple[int, int, int]]:
    return store._base_manager.values_list("student_id", "block_id", "revision")


def _entries_of_row() -> QuerySet[StudentModuleHistory]:
    return StudentModuleHistory.objects.filter(student_id=OuterRef("student_id"), block_id=OuterRef("block_id"))


def _entries() -> Generator[Any]:
    """Yield all entries with their row's revision and times as ``row_…``; the newest has all columns of the row."""
    row = StudentModule.objects.filter(student_id=OuterRef("student_id"), block_id=OuterRef("block_id"))
    same_revision = row.filter(revision=OuterRef("revision"))
    columns = {
        f"row_{column}": Subquery((row if column == "revision" else same_revision).values(column))
        for column in _ROW_COLUMNS
    }
    entries = StudentModuleHistory.objects.annotate(**columns).order_by("student_id", "block_id", "revision")
    yield from entries.iterator(chunk_size=500)


def _assert_one_row(entries: list[Any]) -> None:
    first, last = entries[0], entries[-1]
    assert last.row_revision is not None, f"history without a row: {last}"
    assert [entry.revision for entry in entries] == list(range(1, last.row_revision + 1)), f"gaps: {last}"
    decode(entries)
    assert last.state == last.row_state, f"the newest entry is not the state: {last}"
    assert (last.grade, last.max_grade) == (last.row_grade, last.row_max_grade), f"nor the score: {last}"
    assert last.created == last.row_modified, f"the newest entry and the state have different times: {last}"
    assert first.created == last.row_created, f"the oldest entry is not as old as the row: {last}"
    for older, newer in pairwise(entries):
        assert older.created < newer.created, f"a later revision is not later: {newer}"
        assert _content(older) != _content(newer), f"an entry without a change: {newer}"


def _content(entry: Any) -> tuple[Any, ...]:
    return (entry.state, entry.grade, entry.max_grade)

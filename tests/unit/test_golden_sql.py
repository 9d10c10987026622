"""The golden files of all databases show the same operations, with a note at each statement."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import golden_sql
from tests.golden_sql import GoldenFile, plain
from tests.sql_layout import laid_out
from xblock_user_state.store import writer

VENDORS = ("postgresql", "citus", "mysql", "sqlite")
# The operation that shows each mode of the writer.
MODES = {
    1: "set_many: update of one row, in the row cache",
    2: "set_many: two updates and a new row, looked up",
    3: "set_many: a hot row, locked at first",
    4: "set_many: in the caller's transaction",
    5: "set_many: in the caller's transaction, in the row cache",
}


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_file_has_the_same_operations(vendor: str) -> None:
    assert GoldenFile(vendor).operations == GoldenFile(VENDORS[0]).operations


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_statement_has_a_note(vendor: str) -> None:
    assert list(GoldenFile(vendor).without_note()) == []


def test_the_writers_table_of_modes_is_true() -> None:
    rows = re.findall(r"^(\d)  .*?(\d+) +(\d+) +(\d+) +(\d+)$", writer.__doc__ or "", re.MULTILINE)
    assert len(rows) == len(MODES)
    for mode, *counts in rows:
        for vendor, number in zip(VENDORS, counts, strict=True):
            sent = GoldenFile(vendor).statements(MODES[int(mode)])
            # BEGIN and COMMIT there are the caller's, not the writer's.
            assert len(sent) - 2 * (mode in ("4", "5")) == int(number), (mode, vendor)


@pytest.mark.parametrize("vendor", VENDORS)
def test_layout_changes_only_white_space(vendor: str) -> None:
    golden = GoldenFile(vendor)
    for operation in golden.operations:
        for statement in golden.statements(operation):
            lines = list(laid_out(statement))
            assert plain("\n".join(lines)) == statement
            assert max(map(len, lines)) <= 120


def test_notes_stay_when_the_file_is_written_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(golden_sql, "FOLDER", tmp_path)
    path = tmp_path / "some.sql"
    text = (
        "-- A preamble.\n\n"
        "-- === first\n-- What it is about.\n\n-- One.\nSELECT 1\n    FROM a;\n\n-- Two.\nSELECT 2;\n\n"
        "-- === second\n-- Same as: first\n"
    )
    path.write_text(text)
    golden = GoldenFile("some")
    order = golden.operations
    golden.replace("first", ["SELECT 1 FROM a", "SELECT 2"], order)
    assert path.read_text() == text
    golden.replace("first", ["SELECT 1 FROM a", "SELECT 3", "SELECT 4"], order)
    golden.replace("second", ["SELECT 5"], order)
    expected = text.replace("SELECT 2;", "SELECT 3;\n\nSELECT 4;").replace("-- Same as: first", "SELECT 5;")
    assert path.read_text() == expected
    assert list(GoldenFile("some").without_note()) == ["SELECT 4", "SELECT 5"]
    golden.replace("second", ["SELECT 1 FROM a", "SELECT 3", "SELECT 4"], order)
    assert path.read_text() == expected.replace("SELECT 5;", "-- Same as: first")

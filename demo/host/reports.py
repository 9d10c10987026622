"""Reports of all learners' answers to one block, in the words of the block."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import SupportsWrite
    from xblock.core import XBlock

    from xblock_user_state.interface import XBlockUserState

Row = list[str]

# A spreadsheet runs a cell that starts like this as a formula, on the computer of the reader.
FORMULA_START = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


def responses(block: XBlock, states: Iterable[XBlockUserState]) -> tuple[Row, list[Row]]:
    """Return the heading and the rows of a block's report. A missing cell is empty."""
    found = [{"Learner": username, **report} for username, report in block.generate_report_data(iter(states))]
    heading = list(dict.fromkeys(name for report in found for name in report))
    return heading, [[printable(report.get(name, "")) for name in heading] for report in found]


def printable(value: object) -> str:
    """Return the text of a value. Lone surrogates become escapes, because UTF-8 can't encode them."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def write_csv(target: SupportsWrite[str], heading: Row, rows: list[Row]) -> None:
    writer = csv.writer(target)
    writer.writerows([safe_cell(cell) for cell in row] for row in [heading, *rows])


def safe_cell(text: str) -> str:
    """Return a cell that no spreadsheet runs as a formula: learners can enter anything."""
    return f"'{text}" if FORMULA_START.match(text) and not NUMBER.fullmatch(text) else text

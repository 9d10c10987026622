"""Reports of all learners' answers to one block, in the words of the block."""

from __future__ import annotations

import csv
import logging
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed import SupportsWrite
    from xblock.core import XBlock

    from xblock_user_state.interface import XBlockUserState

log = logging.getLogger(__name__)

Row = list[str]

# A spreadsheet runs a cell that starts like this as a formula, on the computer of the reader.
FORMULA_START = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


def responses(block: XBlock, states: Iterable[XBlockUserState]) -> tuple[Row, list[Row]]:
    """Return the heading and the rows of a block's report. A missing cell is empty.

    A state that the block can't read has a row with a remark.
    """
    found = [{"Learner": username, **report} for username, report in _reports(block, iter(states))]
    heading = list(dict.fromkeys(name for report in found for name in report))
    return heading, [[printable(report.get(name, "")) for name in heading] for report in found]


def _reports(block: XBlock, states: Iterator[XBlockUserState]) -> Iterator[tuple[str | None, dict[str, object]]]:
    """Yield the block's reports. After an exception, ask the block again for the states that are left."""
    while True:
        fed: list[str | None] = []
        try:
            yield from block.generate_report_data(_noted(states, fed))
        except Exception as error:
            if not fed:
                raise
            log.exception("the state of %r in %s can't be reported", fed[-1], block.scope_ids.usage_id)
            yield fed[-1], {"Remark": f"The state can't be read: {type(error).__name__}: {error}"}
        else:
            return


def _noted(states: Iterator[XBlockUserState], fed: list[str | None]) -> Iterator[XBlockUserState]:
    """Pass on states, and note their learners in `fed`."""
    for state in states:
        fed.append(state.username)
        yield state


def printable(value: object) -> str:
    """Return the text of a value. Lone surrogates become escapes, because UTF-8 can't encode them."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def write_csv(target: SupportsWrite[str], heading: Row, rows: list[Row]) -> None:
    writer = csv.writer(target)
    writer.writerows([safe_cell(cell) for cell in row] for row in [heading, *rows])


def safe_cell(text: str) -> str:
    """Return a cell that no spreadsheet runs as a formula: learners can enter anything."""
    return f"'{text}" if FORMULA_START.match(text) and not NUMBER.fullmatch(text) else text

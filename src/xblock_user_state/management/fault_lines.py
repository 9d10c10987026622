"""The report of a check: a line of JSON for each fault and note, and one with the numbers at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from xblock_user_state.history.entries import Owner

FAULT, NOTE = "fault", "note"


class FaultLines:
    """Appends lines to the file at `path`; does nothing without one. Several checks may share a file.

    A check that goes on after a kill reports the faults of the interrupted page once more.
    """

    def __init__(self, path: Path | None) -> None:
        """Make the file, if it is not there. Raises ``OSError``: now, and not hours later at the first line."""
        self._path = path
        self._append([])

    def add(self, kind: str, lines: Sequence[tuple[Owner, str]]) -> None:
        """Add a line for each owner and text. Raises ``OSError``."""
        self._append([{"learner": str(owner.student_id), "block": owner.block_id, kind: text} for owner, text in lines])

    def end(self, **numbers: int) -> None:
        """Add the numbers of the whole check. Raises ``OSError``."""
        self._append([{"summary": numbers}])

    def _append(self, lines: Sequence[object]) -> None:
        if self._path:
            # One write in append mode, because several checks may share a file.
            with self._path.open("a") as file:
                file.write("".join(f"{json.dumps(line)}\n" for line in lines))

"""The report of an import: JSON lines in a file, and numbers by reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from xblock_user_state.openedx.old.reasons import Line, Reason


class Report:
    """Writes a line of JSON for each row that was not taken as it is, and counts them by reason.

    Lines are appended: an import that is run again reports the rows of an interrupted group once more.
    """

    def __init__(self, path: Path | None) -> None:
        """Make the file, if it is not there. Raises ``OSError``: now, and not hours later at the first line."""
        if path:
            path.open("a").close()
        self._path = path
        self.counts: Counter[Reason] = Counter()
        self._written: Counter[Line] = Counter()

    def add(self, lines: Iterable[Line]) -> None:
        """Add lines, each unless it is expected again. Raises ``OSError``."""
        found = [line for line in lines if not self._is_written(line)]
        self.counts.update(line.reason for line in found)
        if self._path and found:
            # One write in append mode, because several imports may share a file.
            with self._path.open("a") as file:
                file.write("".join(f"{as_json(line)}\n" for line in found))

    def expect_again(self, lines: Iterable[Line]) -> None:
        """Expect these lines once more: they are in the report, and their rows will be taken again."""
        self._written.update(lines)

    def summary(self) -> Iterator[str]:
        """Yield a line for each reason that was reported, in the order of `Reason`."""
        for reason in Reason:
            if reason in self.counts:
                outcome = "left out" if reason.is_left_out else "taken"
                yield f"{self.counts[reason]:>10,} {outcome}: {reason.code}. {reason.meaning}"

    def _is_written(self, line: Line) -> bool:
        if not self._written[line]:
            return False
        self._written[line] -= 1
        return True


def as_json(line: Line) -> str:
    """Return a line of the report as JSON."""
    return json.dumps({"table": line.table, "id": line.id, "reason": line.reason.code, "detail": line.detail})

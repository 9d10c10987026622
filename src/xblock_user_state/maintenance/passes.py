"""The position of an unfinished check of the history, in a small file that is replaced after each page.

A check that was killed goes on after the last page that it finished. The file says of which check it is: another
database, context or share of learners is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xblock_user_state.history.entries import Key
from xblock_user_state.maintenance.checkpoint import BadCheckpoint, describe_database, replace_file

ROWS = "rows"
"""The first stage: the state rows and their history. The other stages are the names of stores, swept for orphans."""


class Place(NamedTuple):
    """A stage, the last key in it that was checked (``None`` before the first page), and the numbers up to there."""

    stage: str = ROWS
    after: Key | None = None
    totals: Mapping[str, int] = {}


@dataclass(frozen=True)
class StateFile:
    """The file at `path`, of a check with these `options`; without a path nothing is kept."""

    path: Path | None
    database: str
    options: Mapping[str, object]

    def read(self) -> Place:
        """Return the place of the unfinished check, or the beginning. Raises `BadCheckpoint`."""
        if self.path is None or not self.path.exists():
            return Place()
        try:
            kept = json.loads(self.path.read_text())
            of, stage, after, totals = kept["check"], kept["stage"], kept["after"], dict(kept["totals"])
        except (ValueError, LookupError, TypeError) as error:
            raise BadCheckpoint(f"{self.path} holds no place of a check; remove it to begin anew") from error
        if of != self._check():
            raise BadCheckpoint(f"{self.path} belongs to another check: {of}; name another file")
        return Place(stage, None if after is None else Key.from_texts(after), totals)

    def write(self, stage: str, after: Sequence[object] | None, totals: Mapping[str, int]) -> None:
        """Replace the place. Raises ``OSError``."""
        if self.path is not None:
            texts = None if after is None else [str(each) for each in after]
            replace_file(self.path, {"check": self._check(), "stage": stage, "after": texts, "totals": totals})

    def clear(self) -> None:
        """Remove the file: the check is complete."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _check(self) -> Mapping[str, object]:
        return {"database": describe_database(self.database), **self.options}

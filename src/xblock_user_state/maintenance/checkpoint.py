"""The checkpoint of an interrupted back-fill or compaction: the last key that it has done, and its totals, in a file.

The tables can't tell the key: shipped entries stand among the copies, and new entries among the rows still to copy. The
file is replaced in one step after each page, so a killed process leaves the old key or the new key. A key that is too
early costs time, never an entry.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from django.db import connections

from xblock_user_state.history.entries import Key


class BadCheckpoint(Exception):
    """The file holds no checkpoint, or the checkpoint of another job or of other databases."""


class Position(NamedTuple):
    """The last key that was done; ``None`` before the first page. And the totals of the pass up to there."""

    after: Key | None
    totals: Mapping[str, int]


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint at `path` of a job, such as a back-fill from the database `source` to the database `target`."""

    path: Path
    source: str
    target: str
    job: str = "back-fill"

    def read(self) -> Position:
        """Return the position of an unfinished pass, or of a new one if there is no file. Raises `BadCheckpoint`."""
        try:
            kept = json.loads(self.path.read_text())
            databases, after, totals = kept["databases"], kept["after"], dict(kept["totals"])
            # Files of earlier versions name no job.
            job = kept.get("job", "back-fill")
        except FileNotFoundError:
            return Position(None, {})
        except (ValueError, LookupError, TypeError) as error:
            raise BadCheckpoint(f"{self.path} holds no position of a {self.job}; remove it to begin anew") from error
        if (job, databases) != (self.job, self._databases()):
            raise BadCheckpoint(f"{self.path} belongs to a {job} of {' to '.join(databases)}; name another file")
        return Position(None if after is None else Key.from_texts(after), totals)

    def write(self, after: Key | None, totals: Mapping[str, int]) -> None:
        """Replace the checkpoint."""
        # Texts, because ids of users may be UUIDs.
        place = None if after is None else after.texts()
        kept = {"job": self.job, "databases": self._databases(), "after": place, "totals": totals}
        replace_file(self.path, kept)

    def clear(self) -> None:
        """Remove the file: the pass is complete, and the next pass begins at the first row."""
        self.path.unlink(missing_ok=True)

    def _databases(self) -> list[str]:
        return [describe_database(self.source), describe_database(self.target)]


def replace_file(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file of JSON in one step. Raises ``OSError``."""
    # Two processes at once must not write the same temporary file.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    with temporary.open("w") as file:
        json.dump(content, file)
        # On disk before it is renamed: after a crash of the machine the name must not lead to an empty file.
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def describe_database(alias: str) -> str:
    """Return vendor, server and name of a database, for files that belong to it."""
    database: Any = connections[alias]
    parts = database.settings_dict
    return f"{database.vendor} {parts['HOST']}:{parts['PORT']}/{parts['NAME']}"

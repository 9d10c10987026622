"""Where an interrupted back-fill goes on: the last key that it has done, in a small file.

A file, for the position can't be derived: entries that were shipped are among the copies, and new ones among those that
are still to be copied. It is replaced in one step after each page, so that a process that is killed leaves the old
position or the new one. A position that is too early costs time, never an entry.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connections

from xblock_user_state.history.entries import Key
from xblock_user_state.history.models import StudentModuleHistory


class BadCheckpoint(Exception):
    """The file holds no position, or that of another pair of databases."""


@dataclass(frozen=True)
class Checkpoint:
    """The position of a back-fill between the databases `source` and `target`, kept at `path`."""

    path: Path
    source: str
    target: str

    def read(self) -> Key | None:
        """Return the last key that was done; ``None`` if there is no file."""
        try:
            kept = json.loads(self.path.read_text())
            databases, after = kept["databases"], kept["after"]
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError) as error:
            raise BadCheckpoint(f"{self.path} holds no position of a back-fill; remove it to begin anew") from error
        if databases != self._databases():
            raise BadCheckpoint(f"{self.path} belongs to a back-fill of {' to '.join(databases)}; name another file")
        return None if after is None else self._key(*after)

    def write(self, after: Key | None) -> None:
        """Replace the position."""
        kept = {"databases": self._databases(), "after": None if after is None else [str(part) for part in after]}
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        with temporary.open("w") as file:
            json.dump(kept, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    def clear(self) -> None:
        """Remove the file: the pass is complete, and the next one begins at the first row."""
        self.path.unlink(missing_ok=True)

    def _databases(self) -> list[str]:
        return [_described(self.source), _described(self.target)]

    def _key(self, student_id: str, block_id: str, revision: str) -> Key:
        student = StudentModuleHistory._meta.get_field("student").target_field
        return student.to_python(student_id), int(block_id), int(revision)


def _described(alias: str) -> str:
    database: Any = connections[alias]
    parts = database.settings_dict
    return f"{database.vendor} {parts['HOST']}:{parts['PORT']}/{parts['NAME']}"

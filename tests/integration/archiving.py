"""Runs the commands of the archive, and describes tables and files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management import call_command

from xblock_user_state.history.archived.manifest import read_manifest
from xblock_user_state.history.archived.parts import read_part
from xblock_user_state.history.archived.places import Folder
from xblock_user_state.history.entries import stores
from xblock_user_state.interface import HistoryEntry

Run = Callable[..., str]


def run(command: str, *arguments: object, **options: Any) -> str:
    """Run a command, and return its output."""
    output = io.StringIO()
    call_command(command, *map(str, arguments), stdout=output, **options)
    return output.getvalue()


def archiver(folder: Path) -> Run:
    """Return a function that runs ``archive_history`` with a state file in a folder."""

    def archive(*arguments: object, older_than: str | None = "0h") -> str:
        age = () if older_than is None else ("--older-than", older_than)
        return run("archive_history", *arguments, *age, state_file=folder / "position.json")

    return archive


def in_tables() -> list[int]:
    """Return the revisions of the rows in all stores, by learner and block."""
    found = []
    for model, alias in stores("default"):
        rows = model._base_manager.using(alias).order_by("student_id", "block_id", "revision")
        found += list(rows.values_list("revision", flat=True))
    return found


def in_files(folder: Path) -> list[tuple[Any, int]]:
    """Return learner and revision of each entry in the archive, file by file."""
    place = Folder(folder)
    entries = (entry for part in read_manifest(place).parts for entry in read_part(place, part))
    return [(entry.student_id, entry.revision) for entry in entries]


def without_place(entries: list[HistoryEntry]) -> list[HistoryEntry]:
    """Return entries that do not tell where they come from."""
    return [entry._replace(archived=False) for entry in entries]

"""The history of one learner in one block, as a list of readable changes for each revision."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model

from xblock_user_state.interface import DamagedHistory
from xblock_user_state.models import HistoryOutbox, StudentModule, StudentModuleHistory
from xblock_user_state.state import decode, diff, encode

if TYPE_CHECKING:
    from datetime import datetime

    from xblock_user_state.models import BaseStudentModuleHistory
    from xblock_user_state.state import FieldChange

SHORT = 60
"""The maximum length of values that are shown on one line, old beside new."""

HISTORY_DATABASE = "student_module_history"

STORES = {StudentModuleHistory: "default history", HistoryOutbox: "outbox"}
"""Names of the stores. The third, the extended history, has no model if its app is not installed."""


class Line(NamedTuple):
    """One line of a comparison. `kind` is ``added``, ``removed``, ``same`` or ``skip``."""

    kind: str
    text: str


@dataclass(frozen=True)
class ShownChange:
    """A changed field: `old` and `new` if both are short, else the `lines` of a comparison."""

    field: str
    kind: str
    old: str
    new: str
    lines: list[Line]

    @property
    def counts(self) -> tuple[int, int]:
        kinds = [line.kind for line in self.lines]
        return kinds.count("added"), kinds.count("removed")


@dataclass(frozen=True)
class Entry:
    """One revision. `scored` means that it changed the score; `note` is a remark for the page."""

    revision: int
    created: datetime
    grade: float | None
    max_grade: float | None
    scored: bool
    actor: str | None
    note: str
    store: str
    changes: list[ShownChange]


def where_new_entries_go() -> str:
    configured: dict[str, Any] = getattr(settings, "XBLOCK_USER_STATE", {})
    if not configured.get("EXTENDED_HISTORY"):
        return "default history, beside the state"
    return f"extended history, in a separate database: {settings.DATABASES[HISTORY_DATABASE]['NAME']}"


def timeline(module: StudentModule) -> list[Entry]:
    """Return the entries of a learner in a block, newest first."""
    history = list(StudentModuleHistory.get_history([module]))
    actors = get_user_model().objects.in_bulk({entry.actor_id for entry in history if entry.actor_id})
    names = {user_id: user.get_username() for user_id, user in actors.items()}
    # Each entry is compared with the next older one; the oldest is compared with nothing.
    return [_entry(new, old, names) for new, old in zip(history, [*history, None][1:], strict=True)]


def _entry(new: BaseStudentModuleHistory, old: BaseStudentModuleHistory | None, names: dict[Any, str]) -> Entry:
    try:
        changes, note = _changes(old, new)
    except DamagedHistory as error:
        changes, note = [], f"The change can't be shown: {error}."
    return Entry(
        revision=new.revision,
        created=new.created,
        grade=new.grade,
        max_grade=new.max_grade,
        scored=(new.grade, new.max_grade) != ((old.grade, old.max_grade) if old else (None, None)),
        actor=names.get(new.actor_id),
        note=note,
        store=STORES.get(type(new), "extended history"),
        # Short changes first: they would be lost between long comparisons.
        changes=sorted(changes, key=lambda change: bool(change.lines)),
    )


def _changes(old: BaseStudentModuleHistory | None, new: BaseStudentModuleHistory) -> tuple[list[ShownChange], str]:
    before, after = (decode(entry.state) if entry and entry.state else None for entry in (old, new))
    changes = [shown(change) for change in diff(before, after)]
    if before and not after:
        return changes, "The whole state was deleted."
    return changes, "" if changes else "The state did not change."


def shown(change: FieldChange) -> ShownChange:
    old, new = _sides(change, indent=None)
    if max(len(old), len(new)) <= SHORT:
        return ShownChange(change.field, change.kind, old, new, [])
    return ShownChange(change.field, change.kind, "", "", compare(*_sides(change, indent=2)))


def _sides(change: FieldChange, indent: int | None) -> tuple[str, str]:
    old = "" if change.kind == "added" else _text(change.old, indent)
    new = "" if change.kind == "removed" else _text(change.new, indent)
    return old, new


def readable(value: Any) -> str:
    """Return a value as JSON: one line if it is short, else indented."""
    line = _text(value, indent=None)
    return line if len(line) <= SHORT else _text(value, indent=2)


def _text(value: Any, indent: int | None) -> str:
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False)
    except ValueError:
        # Python refuses to print integers of more than 4,300 digits.
        text = encode(value)
    # Learners' text may contain lone surrogates, which UTF-8 can't encode.
    return text.encode("utf-8", "backslashreplace").decode()


def compare(old: str, new: str) -> list[Line]:
    """Return the differing lines, with two lines of context."""
    lines: list[Line] = []
    kinds = {"+": "added", "-": "removed", " ": "same", "@": "skip"}
    # The first two lines of a unified diff are file names.
    for text in list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:]:
        line = Line(kinds[text[0]], "⋯" if text[0] == "@" else text[1:])
        if lines or line.kind != "skip":
            lines.append(line)
    return lines

"""Lines of an export: an entry as JSON in ASCII. The stored text of a state goes into its line as it is."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.naming import BlockName
from xblock_user_state.state import codec

# Grades and names come again and again. Typed, because 1, 1.0 and true are equal.
_json = lru_cache(10_000, typed=True)(codec.encode)


@lru_cache(10_000)
def _members(block: BlockName) -> str:
    return codec.encode(block._asdict())[1:-1]


class Columns(Protocol):
    """The columns of an entry that a line has."""

    @property
    def student_id(self) -> Any: ...
    @property
    def block_id(self) -> int: ...
    @property
    def revision(self) -> int: ...
    @property
    def created(self) -> datetime: ...
    @property
    def grade(self) -> float | None: ...
    @property
    def max_grade(self) -> float | None: ...


class OwnerLines:
    """The lines of one learner and block."""

    def __init__(self, learner: str | None, block: BlockName) -> None:
        self._owner = f'{{"learner":{_json(learner)},{_members(block)}'

    def line(
        self, entry: Columns, text: str | DamagedHistory | None, actor: str | None, *, is_checked: bool
    ) -> tuple[str, bool]:
        """Return the line of an entry, and whether the entry is damaged.

        `is_checked` tells that the text is known to be a state; any other is checked here.
        """
        name, value = _outcome(entry, text, is_checked=is_checked)
        created = entry.created.astimezone(UTC).isoformat(timespec="microseconds")
        return (
            f'{self._owner},"revision":{entry.revision},"created":"{created}","grade":{_json(entry.grade)},'
            f'"max_grade":{_json(entry.max_grade)},"actor":{_json(actor)},"{name}":{value}}}\n'
        ), name == "damaged"


def _outcome(entry: Columns, text: str | DamagedHistory | None, *, is_checked: bool) -> tuple[str, str]:
    """Return the name and the JSON of the last value of a line: the state, or why there is none."""
    if text is None:
        return "state", "null"
    if isinstance(text, DamagedHistory):
        return "damaged", codec.encode(f"learner {entry.student_id}, block {entry.block_id}: {text}")
    try:
        if not is_checked:
            codec.check_state(text)
        # SQL may have written other JSON than the client: in several lines, or with characters that are not ASCII.
        return "state", text if text.isascii() and "\n" not in text else codec.encode(codec.decode_state(text))
    except codec.NotAState as error:
        return "damaged", codec.encode(f"revision {entry.revision} can't be read: {error}")

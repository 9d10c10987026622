"""Numbers that a pass over the history counts, and its steps."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Generic, NamedTuple, Self, TypeVar

from xblock_user_state.history.entries import Owner


@dataclass
class Numbers:
    """Numbers of a step or of a pass. All fields are numbers; these are those of every pass.

    ``rows`` are the state rows that were looked at, ``entries`` the entries that were changed. ``left`` counts what is
    old and stays.
    """

    rows: int = 0
    entries: int = 0
    left: int = 0

    def add(self, other: Self) -> None:
        """Add the numbers of another step to these."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


AnyNumbers = TypeVar("AnyNumbers", bound=Numbers)


class Step(NamedTuple, Generic[AnyNumbers]):
    """The numbers of a step. All rows up to that of the owner `last` are done, if there is one."""

    done: AnyNumbers
    last: Owner | None = None

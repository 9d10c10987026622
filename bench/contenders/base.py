"""What a contender does: the same few operations, each handed out as a call that is ready to be timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from bench.data import Block, Learner, State
from bench.filling import Rows

Call = Callable[[], Any]
"""What is timed: its arguments are made before."""


class Contender(ABC):
    """Keeps learners' states and the history of their changes, in tables of its own on Django's default database."""

    tables: ClassVar[Sequence[str]] = ()
    """The tables that have a row for each state, the history last."""

    @abstractmethod
    def create(self) -> None:
        """Make the tables, or whatever the first call needs. Called on an empty database."""

    @abstractmethod
    def fill(self, rows: Rows) -> None:
        """Insert states and one history entry for each, by the fastest SQL."""

    @abstractmethod
    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        """Return the call that sets fields of these blocks, and records it."""

    @abstractmethod
    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        """Return the call that reads the states of these blocks."""

    @abstractmethod
    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        """Return the call that deletes the whole state of these blocks, and records it."""

    @abstractmethod
    def entries(self, learner: Learner, block: Block) -> list[State | None]:
        """Return the recorded states, newest first; ``None`` for one that was deleted."""

    def get_history(self, learner: Learner, block: Block) -> Call:
        """Return the call that reads all recorded states."""
        return lambda: self.entries(learner, block)

    def iterate_block(self, block: Block) -> Iterator[Any]:
        """Yield who has which state in a block."""
        raise NotImplementedError

    def iterate_course(self, course: int) -> Iterator[Any]:
        """Yield who has which state in which block of a course."""
        raise NotImplementedError

    def states(self, learner: Learner, blocks: Sequence[Block]) -> dict[str, State]:
        """Return the states by usage key, as `get_many` reads them."""
        raise NotImplementedError

    def disconnect(self) -> None:  # noqa: B027 - most have no connection but Django's
        """Close connections of its own, if any; the next call makes a new one."""

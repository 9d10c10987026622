"""The operations of a contender, each handed out as a call that is ready to be timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from bench.site.data import Block, Learner, State
from bench.site.filling import Rows

Call = Callable[[], Any]
"""The timed part of an operation. Its arguments are made before."""


class Contender(ABC):
    """Keeps states and their history in its own tables on Django's default database."""

    tables: ClassVar[Sequence[str]] = ()
    """The state table and the history table."""

    @abstractmethod
    def create(self) -> None:
        """Create the tables, or the rows that the first call needs. Called on an empty database."""

    @abstractmethod
    def fill(self, rows: Rows) -> None:
        """Insert states with one history entry each, by bulk SQL."""

    @abstractmethod
    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        """Return a call that overlays the fields of each block and records the change."""

    @abstractmethod
    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        """Return a call that reads the states of the blocks, as rows that start with username, key and state."""

    @abstractmethod
    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        """Return a call that deletes the states of the blocks and records the deletion."""

    @abstractmethod
    def entries(self, learner: Learner, block: Block) -> list[State | None]:
        """Return the recorded states, newest first, with ``None`` for a deletion."""

    def get_history(self, learner: Learner, block: Block) -> Call:
        """Return a call that reads all entries of the block."""
        return lambda: self.entries(learner, block)

    def iterate_block(self, block: Block) -> Iterator[Any]:
        """Yield the states of all learners in a block."""
        raise NotImplementedError

    def iterate_course(self, course: int) -> Iterator[Any]:
        """Yield the states of all learners in all blocks of a course."""
        raise NotImplementedError

    def states(self, learner: Learner, blocks: Sequence[Block]) -> dict[str, State]:
        """Return the states by usage key, for tests that compare contenders."""
        return {str(key): state for _, key, state, *_ in self.get_many(learner, blocks)()}

    def disconnect(self) -> None:  # noqa: B027 - most contenders use Django's connection
        """Close the contender's own connection, if it has one; the next call opens a new one."""

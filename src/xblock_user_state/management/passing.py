"""Base of the commands that go through the history of all learners at a limited rate, and can go on after a kill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from django.core.management.base import CommandParser

from xblock_user_state import conf
from xblock_user_state.history.entries import Key, Owner
from xblock_user_state.maintenance.checkpoint import Checkpoint
from xblock_user_state.maintenance.numbers import AnyNumbers, Step
from xblock_user_state.management.base import ProgressCommand, add_selection, at_least_one
from xblock_user_state.management.pacing import paced
from xblock_user_state.store.resting import resting


class Pass(Protocol[AnyNumbers]):
    """A pass over the state rows of a database."""

    @property
    def database(self) -> str:
        """The alias of the state's database."""

    def steps(self, after: Owner | None = None) -> Iterator[Step[AnyNumbers]]:
        """Do one step after the other, from the row that follows `after`."""

    def count(self) -> int:
        """Return the number of rows of the pass."""


class PassCommand(ProgressCommand):
    """A command that makes one pass over the history. A pass over all learners keeps its position in a file."""

    def add_pass_arguments(self, parser: CommandParser, verb: str, state_file: str) -> None:
        """Add ``--context``, ``--learner``, ``--rate`` and ``--state-file``."""
        add_selection(parser)
        parser.add_argument("--rate", type=int, metavar="ENTRIES", help=f"{verb} at most this many entries in a second")
        parser.add_argument(
            "--state-file",
            type=Path,
            default=Path(state_file),
            metavar="FILE",
            help=f"file that keeps the position of an unfinished run over all learners ({state_file})",
        )

    def rate(self, options: Mapping[str, Any]) -> int | None:
        """Return the entries in a second that ``--rate`` allows; ``None`` for any number."""
        return None if options["rate"] is None else at_least_one(options, "rate")

    def make_pass(
        self, wanted: Pass[AnyNumbers], done: AnyNumbers, checkpoint: Checkpoint | None, rate: int | None
    ) -> None:
        """Make a pass, or go on with an interrupted one; add its numbers to `done`. Raises `BadCheckpoint`."""
        position = checkpoint.read() if checkpoint else None
        after = position.after.owner if position and position.after else None
        if position and after:
            self.stdout.write(f"going on after learner {after.student_id}, block {after.block_id}")
            done.add(type(done)(**position.totals))
        with self.progress("rows", wanted.count, done.rows) as progress:
            for step in paced(resting(wanted.database, wanted.steps(after)), lambda step: step.done.entries, rate):
                done.add(step.done)
                progress.advance(step.done.rows)
                if checkpoint and step.last:
                    checkpoint.write(Key(*step.last, 0), asdict(done))
        if checkpoint:
            checkpoint.clear()


def checkpoint_of_all(options: Mapping[str, Any], database: str, job: str) -> Checkpoint | None:
    """Return the checkpoint in ``--state-file``; ``None`` for a pass over one learner or context."""
    if options["context"] is not None or options["learner"] is not None:
        return None
    extended = conf.history_database() if conf.has_extended_history() else database
    return Checkpoint(options["state_file"], database, extended, job)

"""``manage.py compact_history``: pack old history."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from xblock_user_state import conf
from xblock_user_state.history.entries import Key
from xblock_user_state.maintenance.checkpoint import BadCheckpoint, Checkpoint
from xblock_user_state.maintenance.compaction import Compacted, Compaction
from xblock_user_state.management.base import ProgressCommand, at_least_one, blocks_of_context, interruptions
from xblock_user_state.management.pacing import paced
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.users import user_id

STATE_FILE = "compact_history.json"
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_COUNTS = ("rows", "entries", "packs", "left", "before", "after")


class Command(ProgressCommand):
    """Packs old history entries, many of one learner and block into one row; can be interrupted and run again."""

    help = (
        "Packs history entries that are older than an age, many of one learner and block into one row, while the site "
        "runs. A pack holds exactly what its entries held. Can be interrupted and run again at any time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument(
            "--older-than",
            required=True,
            metavar="AGE",
            help="pack entries of at least this age: a number of hours, days or weeks, such as 36h, 90d or 26w",
        )
        only = parser.add_mutually_exclusive_group()
        only.add_argument("--context", metavar="KEY", help="only this course run or library")
        only.add_argument("--learner", metavar="USERNAME", help="only this learner")
        parser.add_argument("--rate", type=int, metavar="ENTRIES", help="pack at most this many entries in a second")
        parser.add_argument(
            "--state-file",
            type=Path,
            default=Path(STATE_FILE),
            metavar="FILE",
            help=f"file that keeps the position of an unfinished run over all learners ({STATE_FILE})",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Run one pass, or go on with an interrupted one."""
        rate = None if options["rate"] is None else at_least_one(options, "rate")
        compaction = _compaction(options)
        is_whole = options["context"] is None and options["learner"] is None
        checkpoint = _checkpoint(options["state_file"], compaction.database) if is_whole else None
        done = Compacted()

        def interrupted(error: Exception) -> str:
            return f"interrupted after {done.rows:,} rows: {error}. Run the command again: what is packed stays packed"

        try:
            with interruptions(interrupted, OSError):
                self._run(compaction, checkpoint, rate, done)
        except BadCheckpoint as error:
            raise CommandError(str(error)) from error
        self._report(done)

    def _run(self, compaction: Compaction, checkpoint: Checkpoint | None, rate: int | None, done: Compacted) -> None:
        position = checkpoint.read() if checkpoint else None
        after = position.after.owner if position and position.after else None
        if position and after:
            self.stdout.write(f"going on after learner {after.student_id}, block {after.block_id}")
            done.add(Compacted(**position.totals))
        with self.progress("rows", compaction.count, done.rows) as progress:
            for step in paced(compaction.steps(after), lambda step: step.done.entries, rate):
                done.add(step.done)
                progress.advance(step.done.rows)
                if checkpoint and step.last:
                    checkpoint.write(Key(*step.last, 0), {name: getattr(done, name) for name in _COUNTS})
        if checkpoint:
            checkpoint.clear()

    def _report(self, done: Compacted) -> None:
        self.stdout.write(f"{done.entries:,} entries of {done.rows:,} rows were packed into {done.packs:,} packs.")
        if done.packs:
            self.stdout.write(f"Their bodies took {done.before:,} bytes, and take {done.after:,}.")
        if done.left:
            self.stdout.write(
                f"{done.left:,} old entries can't be read, or are there twice, and stay: run check_history."
            )


def _age(text: str) -> timedelta:
    """Return the age that a text names. Raises ``CommandError``."""
    found = re.fullmatch(r"(\d+)([hdw])", text)
    if not found:
        raise CommandError(f"{text!r} is not an age, such as 36h, 90d or 26w")
    return int(found[1]) * _UNITS[found[2]]


def _compaction(options: dict[str, Any]) -> Compaction:
    database, before = state_database(), datetime.now(UTC) - _age(options["older_than"])
    student_id = block_ids = None
    if options["learner"] is not None:
        student_id = user_id(options["learner"])
        if student_id is None:
            raise CommandError(f"there is no user {options['learner']!r}")
    if options["context"] is not None:
        block_ids = blocks_of_context(database, options["context"])
    return Compaction(database, before, student_id, block_ids)


def _checkpoint(path: Path, database: str) -> Checkpoint:
    extended = conf.history_database() if conf.has_extended_history() else database
    return Checkpoint(path, database, extended, "compaction")

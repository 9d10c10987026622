"""``manage.py backfill_extended_history``: copy or move the default history to the extended history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from xblock_user_state import conf
from xblock_user_state.history.outbox.answers import HistoryUnavailable
from xblock_user_state.maintenance.backfill import Backfill, EntriesDiffer, RowsLocked
from xblock_user_state.maintenance.checkpoint import BadCheckpoint, Checkpoint, Position
from xblock_user_state.management.base import HistoryCommand, at_least_one, interruptions, need_extended_history
from xblock_user_state.management.pacing import paced
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.resting import resting

STATE_FILE = "backfill_extended_history.json"
_COUNTS = ("compared", "copied", "removed", "waiting")


class Command(HistoryCommand):
    """Copies the default history to the extended history; can be interrupted and run again at any time."""

    help = (
        "Copies the default history to the extended history while the site runs, and compares all copies. With "
        "--remove-source an entry is removed once the extended history has it. Exit status 1 if entries differ."
    )
    batch = 500
    batch_help = "rows in a transaction"

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        super().add_arguments(parser)
        parser.add_argument("--rate", type=int, metavar="ROWS", help="copy at most this many rows in a second")
        parser.add_argument(
            "--state-file",
            type=Path,
            default=Path(STATE_FILE),
            metavar="FILE",
            help=f"file that keeps the position of an unfinished copy ({STATE_FILE})",
        )
        parser.add_argument("--remove-source", action="store_true", help="move the entries instead of copying them")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run one pass. The first page that fails ends it with exit status 1."""
        need_extended_history()
        if options["remove_source"]:
            _need_readers()
        size = at_least_one(options, "batch")
        rate = None if options["rate"] is None else at_least_one(options, "rate")
        # A batch above the rate would pause for more than a second at a time.
        backfill = Backfill(state_database(), min(size, rate) if rate else size, options["remove_source"])
        checkpoint = Checkpoint(options["state_file"], backfill.database, conf.history_database())
        try:
            with interruptions(_interrupted, HistoryUnavailable, OSError, RowsLocked):
                done = self._run(backfill, checkpoint, rate, int(options["verbosity"]))
        except (EntriesDiffer, BadCheckpoint) as error:
            raise CommandError(str(error)) from error
        self._report(**done)

    def _run(self, backfill: Backfill, checkpoint: Checkpoint, rate: int | None, verbosity: int) -> dict[str, int]:
        # A move needs no checkpoint: the rows that are left are the rows to move.
        after, totals = Position(None, {}) if backfill.remove_source else _begin(checkpoint)
        if after is not None:
            self.stdout.write(f"going on after learner {after[0]}, block {after[1]}, revision {after[2]}")
        done = {name: totals.get(name, 0) for name in _COUNTS}
        before = done["compared"] + done["waiting"]
        with self.progress("entries", lambda: before + backfill.count(after), before) as progress:
            pages = resting(backfill.database, backfill.pages(after))
            for page in paced(pages, lambda page: page.compared + page.waiting, rate):
                for name in _COUNTS:
                    done[name] += getattr(page, name)
                if not backfill.remove_source:
                    checkpoint.write(page.last, done)
                progress.advance(page.compared + page.waiting)
                if verbosity > 1:
                    self.stdout.write(f"{page.compared} entries, checksum {page.checksum}, up to {tuple(page.last)}")
        checkpoint.clear()
        return done

    def _report(self, compared: int, copied: int, removed: int, waiting: int) -> None:
        self.stdout.write(f"{compared:,} entries are in the extended history; {copied:,} of them are new there.")
        if removed:
            self.stdout.write(f"{removed:,} entries were removed from the default history.")
        if waiting:
            self.stdout.write(
                f"{waiting:,} entries wait for a deletion to be shipped: run relay_history, then this command again."
            )


def _need_readers() -> None:
    """Raise ``CommandError`` if the flags hide the extended history from readers."""
    if not (conf.value("EXTENDED_HISTORY") or conf.reads_both_histories()):
        raise CommandError(
            "nobody reads the extended history: EXTENDED_HISTORY and READ_MULTIPLE_HISTORIES are both off, so entries "
            "removed from the default history would disappear; turn one of them on first"
        )


def _begin(checkpoint: Checkpoint) -> Position:
    """Return the position to begin at. Raises ``CommandError`` if the file can't be written: a copy needs it."""
    try:
        position = checkpoint.read()
        checkpoint.write(*position)
    except OSError as error:
        raise CommandError(
            f"the state file can't be written, and nothing was copied: {error}. Create its folder, or name another "
            "file with --state-file"
        ) from error
    return position


def _interrupted(error: Exception) -> str:
    return f"interrupted: {error}. Run the command again: it goes on from there"

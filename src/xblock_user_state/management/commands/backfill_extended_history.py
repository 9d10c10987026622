"""``manage.py backfill_extended_history``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.outbox.shipping import HistoryUnavailable
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.maintenance.backfill import Backfill, EntriesDiffer, Page, RowsLocked
from xblock_user_state.maintenance.checkpoint import BadCheckpoint, Checkpoint
from xblock_user_state.management.progress import Progress
from xblock_user_state.store.databases import state_database

STATE_FILE = "backfill_extended_history.json"
_COUNTS = ("compared", "copied", "removed", "waiting")


class Command(BaseCommand):
    """Copies the default history to the extended one; can be interrupted and run again at any time."""

    help = (
        "Copies the default history to the extended one while the site runs, compares all copies, and with "
        "--remove-source removes what the extended history is seen to have. Exit status 1 if entries differ."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("--batch", type=int, default=500, metavar="N", help="rows in a transaction (500)")
        parser.add_argument("--rate", type=int, metavar="ROWS", help="at most so many rows in a second")
        parser.add_argument(
            "--state-file",
            type=Path,
            default=Path(STATE_FILE),
            metavar="FILE",
            help=f"where the position of an unfinished copy is kept ({STATE_FILE})",
        )
        parser.add_argument("--remove-source", action="store_true", help="move the entries instead of copying them")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run one pass. Ends with exit status 1 at the first page that can't be done."""
        _check_configuration(remove_source=options["remove_source"])
        for name in ("batch", "rate"):
            if options[name] is not None and options[name] < 1:
                raise CommandError(f"--{name} is {options[name]}; it must be 1 or more")
        rate = options["rate"]
        backfill = Backfill(
            state_database(),
            size=min(options["batch"], rate) if rate else options["batch"],
            remove_source=options["remove_source"],
        )
        position = Checkpoint(options["state_file"], backfill.database, conf.history_database())
        try:
            done = self._run(backfill, position, rate, int(options["verbosity"]))
        except (EntriesDiffer, BadCheckpoint) as error:
            raise CommandError(str(error)) from error
        except (Error, HistoryUnavailable, OSError, RowsLocked, ServiceUnavailable) as error:
            raise CommandError(f"interrupted: {error}. Run the command again: it goes on from there") from error
        self._report(**done)

    def _run(self, backfill: Backfill, position: Checkpoint, rate: int | None, verbosity: int) -> dict[str, int]:
        # What is removed needs no position: what is left is what is to be done.
        after = None if backfill.remove_source else position.read()
        if after is not None:
            self.stdout.write(f"going on after learner {after[0]}, block {after[1]}, revision {after[2]}")
        if not backfill.remove_source:
            position.write(after)
        done = dict.fromkeys(_COUNTS, 0)
        progress = Progress(self.stdout, "entries", lambda: backfill.count(after))
        for page in _paced(backfill.pages(after), rate):
            if not backfill.remove_source:
                position.write(page.last)
            for name in _COUNTS:
                done[name] += getattr(page, name)
            progress.advance(page.compared + page.waiting)
            if verbosity > 1:
                self.stdout.write(f"{page.compared} entries, checksum {page.checksum}, up to {page.last}")
        progress.close()
        position.clear()
        return done

    def _report(self, compared: int, copied: int, removed: int, waiting: int) -> None:
        self.stdout.write(f"{compared:,} entries are in the extended history; {copied:,} of them are new there.")
        if removed:
            self.stdout.write(f"{removed:,} entries were removed from the default history.")
        if waiting:
            self.stdout.write(
                f"{waiting:,} entries wait for a deletion to be shipped: run relay_history, then this command again."
            )


def _check_configuration(*, remove_source: bool) -> None:
    if not conf.has_extended_history():
        raise CommandError(conf.no_extended_history())
    if remove_source and not (conf.value("EXTENDED_HISTORY") or conf.reads_both_histories()):
        raise CommandError(
            "nobody reads the extended history: EXTENDED_HISTORY and READ_MULTIPLE_HISTORIES are both off, so what is "
            "removed from the default history would disappear; turn one of them on first"
        )


def _paced(pages: Iterator[Page], rate: int | None) -> Iterator[Page]:
    """Yield the pages, no faster than `rate` rows in a second."""
    started = time.monotonic()
    for page in pages:
        yield page
        if rate:
            rows = page.compared + page.waiting
            time.sleep(max(0.0, rows / rate - (time.monotonic() - started)))
        started = time.monotonic()

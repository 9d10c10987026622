"""``manage.py check_history``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import Owner
from xblock_user_state.history.models import HistoryOutbox
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.maintenance.naming import described
from xblock_user_state.maintenance.orphans import NO_STATE, sweeps
from xblock_user_state.maintenance.verification import Findings, Verification
from xblock_user_state.management.arguments import at_least_one, blocks_of_context
from xblock_user_state.management.progress import Progress
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.transactions import errors_translated


class Command(BaseCommand):
    """Verifies that each state has its whole history; changes nothing, and may run while the site does."""

    help = (
        "Verifies that the state of each recorded block has one history entry for each of its revisions, that all can "
        "be read, and that the newest is the state. Names what is wrong; exit status 1 if anything is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("--context", metavar="KEY", help="only this course run or library")
        parser.add_argument(
            "--late-start",
            action="store_true",
            help="accept histories that begin after the first revision: their block type was not recorded before",
        )
        parser.add_argument(
            "--batch", type=int, default=250, metavar="N", help="entries of each store in memory at a time (250)"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Check all rows, and, where no context is named, look for history without one."""
        size = at_least_one(options, "batch")
        database = state_database()
        total = Findings()
        try:
            block_ids = None if options["context"] is None else blocks_of_context(database, options["context"])
            self._check(Verification(database, block_ids, size, options["late_start"]), total)
            # Of which context they were nobody may know any more.
            orphans = self._orphans(database, size) if block_ids is None else 0
            stranded = _stranded(database)
        except (Error, ServiceUnavailable) as error:
            raise CommandError(f"interrupted after {total.rows:,} rows: {error}. Run the command again") from error
        self._report(total, orphans, stranded)

    def _check(self, audit: Verification, total: Findings) -> None:
        progress = Progress(self.stdout, "rows", audit.count)
        for page in audit.pages():
            progress.advance(page.rows)
            for name in ("rows", "entries", "hidden", "wrong_rows"):
                setattr(total, name, getattr(total, name) + getattr(page, name))
            self._tell(audit.database, page.faults, progress)
        progress.close()

    def _orphans(self, database: str, size: int) -> int:
        """Name entries of no row, and return how many there are. Those that have a row were met with it."""
        found = 0
        for sweep in sweeps(database, size):
            progress = Progress(self.stdout, f"entries of the {sweep.store}", sweep.count)
            for page in sweep.pages(remove=False):
                progress.advance(page.entries)
                orphans = [orphan for orphan in page.orphans if orphan.why == NO_STATE]
                found += len(orphans)
                what = f"in the {sweep.store} is an orphan: {NO_STATE}; run sweep_history"
                faults = [(orphan.owner, f"revision {orphan.revision} {what}") for orphan in orphans]
                self._tell(database, faults, progress)
            progress.close()
        return found

    def _tell(self, database: str, faults: Sequence[tuple[Owner, str]], progress: Progress) -> None:
        """Name what is wrong, a line each; the line that shows progress makes room."""
        if faults:
            progress.close()
            names = described(database, {owner for owner, _ in faults})
            for owner, fault in faults:
                self.stdout.write(f"{names[owner]}: {fault}")

    def _report(self, total: Findings, orphans: int, stranded: int) -> None:
        self.stdout.write(f"{total.rows:,} rows with {total.entries:,} entries were checked.")
        if total.hidden:
            self.stdout.write(f"{total.hidden:,} of the entries are hidden from readers, as the settings say.")
        verdict = " ".join(_verdict(total.wrong_rows, orphans, stranded))
        if verdict:
            raise CommandError(verdict)


def _stranded(database: str) -> int:
    """Return how many rows wait in the outbox for an extended history that there is none of."""
    if conf.has_extended_history():
        return 0
    with errors_translated(database):
        return HistoryOutbox._base_manager.using(database).count()


def _verdict(wrong_rows: int, orphans: int, stranded: int) -> Iterator[str]:
    if wrong_rows:
        yield f"{wrong_rows:,} rows disagree with their history."
    if orphans:
        yield f"{orphans:,} entries belong to no state: run sweep_history."
    if stranded:
        yield f"{stranded:,} entries wait in the outbox, and {conf.no_extended_history()}; then run relay_history."

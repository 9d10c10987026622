"""``manage.py check_history``: verify the history of every row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from xblock_user_state import conf
from xblock_user_state.maintenance.naming import first_missing
from xblock_user_state.maintenance.orphans import sweeps
from xblock_user_state.maintenance.verification import Findings, Verification, count_stranded
from xblock_user_state.management.base import HistoryCommand, at_least_one, blocks_of_context, interruptions
from xblock_user_state.store.databases import state_database


class Command(HistoryCommand):
    """Verifies that each state has its whole history. Changes nothing, and may run while the site does."""

    help = (
        "Verifies that the state of each recorded block has one history entry for each of its revisions, that all can "
        "be read, and that the newest is the state. Names each fault; exit status 1 if there is any."
    )
    batch = 2000
    batch_help = "entries of each store in memory at a time"

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("--context", metavar="KEY", help="only this course run or library")
        parser.add_argument(
            "--late-start",
            action="store_true",
            help="accept histories that begin after the first revision: their block type was not recorded before",
        )
        super().add_arguments(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Check all rows and, unless a context is named, all entries without a row."""
        size = at_least_one(options, "batch")
        database = state_database()
        total = Findings()

        def interrupted(error: Exception) -> str:
            return f"interrupted after {total.rows:,} rows: {error}. Run the command again"

        with interruptions(interrupted):
            block_ids = None if options["context"] is None else blocks_of_context(database, options["context"])
            self._verify(Verification(database, block_ids, size, options["late_start"]), total)
            # An orphan's block may not be registered any more, so its context may be unknown.
            orphans = self._orphans(database, size) if block_ids is None else 0
            stranded = count_stranded(database)
        self._report(total, orphans, stranded)

    def _verify(self, verification: Verification, total: Findings) -> None:
        with self.progress("rows", verification.count) as progress:
            for page in verification.pages():
                progress.advance(page.rows)
                total.add_numbers(page)
                self.name(verification.database, page.faults + page.notes, progress)

    def _orphans(self, database: str, size: int) -> int:
        """Name entries without a row, and return their number."""
        found = 0
        for sweep in sweeps(database, size):
            with self.progress(f"entries of the {sweep.store}", sweep.count) as progress:
                for page in sweep.pages(remove=False):
                    progress.advance(page.entries)
                    found += len(page.orphans)
                    faults = [(owner, f"{text}; run sweep_history") for owner, text in sweep.described(page.orphans)]
                    self.name(database, faults, progress)
        return found

    def _report(self, total: Findings, orphans: int, stranded: int) -> None:
        self.stdout.write(f"{total.rows:,} rows with {total.entries:,} entries were checked.")
        if total.hidden:
            self.stdout.write(f"{total.hidden:,} of the entries are hidden from readers, as the settings say.")
        if total.lost:
            self.stdout.write(f"{total.lost:,} entries were lost and are closed off.")
        if total.noted_rows:
            self.stdout.write(
                f"{total.noted_rows:,} rows have times that disagree; revisions decide, so that is no fault."
            )
        verdict = " ".join(_verdict(total, orphans, stranded))
        if verdict:
            raise CommandError(verdict)


def _verdict(total: Findings, orphans: int, stranded: int) -> Iterator[str]:
    if total.wrong_rows:
        yield f"{total.wrong_rows:,} rows disagree with their history: run repair_history --dry-run."
    if total.late_rows:
        yield first_missing(total.late_rows)
    if orphans:
        yield f"{orphans:,} entries belong to no state: run sweep_history."
    if stranded:
        yield f"{stranded:,} entries wait in the outbox, and {conf.no_extended_history()}; then run relay_history."

"""``manage.py repair_history``: repair damaged history, and close off what can't be read."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from xblock_user_state.history.outbox.answers import HistoryUnavailable
from xblock_user_state.maintenance.naming import first_missing
from xblock_user_state.maintenance.repair import Repair, Repairs
from xblock_user_state.maintenance.verification import Verification
from xblock_user_state.management.base import HistoryCommand, at_least_one, blocks_of_context, interruptions
from xblock_user_state.store.databases import state_database


class Command(HistoryCommand):
    """Repairs the history of each state; can be interrupted and run again at any time, while the site runs."""

    help = (
        "Repairs the history of each state. Entries that can be read stay. Entries that can't be read, or are missing, "
        "are named and closed off. A state that something else than the client has changed or restored gets a new "
        "revision. Afterwards check_history finds no fault. Exit status 1 if it still does."
    )
    batch = 250
    batch_help = "entries of each store in memory at a time"

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("--context", metavar="KEY", help="only this course run or library")
        parser.add_argument("--dry-run", action="store_true", help="name the repairs, and change nothing")
        start = parser.add_mutually_exclusive_group()
        start.add_argument(
            "--late-start",
            action="store_true",
            help="accept histories that begin after the first revision: their block type was not recorded before",
        )
        start.add_argument(
            "--lost-start",
            action="store_true",
            help="close off missing first revisions too: their block type was recorded, and they were lost",
        )
        super().add_arguments(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Repair all rows, or the rows of a context. Prints each repair after it is committed."""
        size = at_least_one(options, "batch")
        database = state_database()
        total = Repairs()

        def interrupted(error: Exception) -> str:
            return f"interrupted after {total.rows:,} rows: {error}. Run the command again"

        with interruptions(interrupted, HistoryUnavailable):
            block_ids = None if options["context"] is None else blocks_of_context(database, options["context"])
            verification = Verification(database, block_ids, size, options["late_start"])
            repair = Repair(verification, dry_run=options["dry_run"], lost_start=options["lost_start"])
            self._repair(repair, total)
        self._report(total, dry_run=options["dry_run"])

    def _repair(self, repair: Repair, total: Repairs) -> None:
        verification = repair.verification
        with self.progress("rows", verification.count) as progress:
            for page in repair.pages():
                progress.advance(page.rows)
                total.add_numbers(page)
                left = [(owner, f"not repaired: {fault}") for owner, fault in page.left]
                acts = [(owner, f"would be done: {act}") for owner, act in page.acts] if repair.dry_run else page.acts
                self.name(verification.database, acts + left, progress)

    def _report(self, total: Repairs, *, dry_run: bool) -> None:
        done = "would be repaired (--dry-run)" if dry_run else "were repaired"
        self.stdout.write(f"{total.rows:,} rows were checked; {total.repaired_rows:,} {done}.")
        if total.lost:
            # Of a dry run too: earlier repairs may have closed off all of them.
            then = "would then be" if dry_run and total.repaired_rows else "are"
            self.stdout.write(f"{total.lost:,} entries {then} lost, and closed off.")
        if total.wrong_rows:
            hint = f" {first_missing(total.late_rows)}" if total.late_rows else ""
            still = "would still" if dry_run else "still"
            raise CommandError(f"{total.wrong_rows:,} rows {still} disagree with their history.{hint}")

"""``manage.py sweep_history``: delete history without state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandParser

from xblock_user_state.history.entries import Key
from xblock_user_state.history.outbox.answers import HistoryUnavailable
from xblock_user_state.maintenance.archive_files import bury_orphans
from xblock_user_state.maintenance.naming import describe_owners
from xblock_user_state.maintenance.orphans import Sweep, sweeps
from xblock_user_state.management.base import HistoryCommand, at_least_one, interruptions
from xblock_user_state.store.databases import state_database

_MOST_NAMED = 20


class Command(HistoryCommand):
    """Removes history entries that belong to no state row; can be interrupted and run again at any time."""

    help = (
        "Finds history entries whose learner has no state in the block, in every store, and removes them. Deletions "
        "through the ORM leave no such entries; SQL and restored backups do. For damaged entries see repair_history."
    )
    batch = 500
    batch_help = "entries checked at a time"

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("--dry-run", action="store_true", help="name the entries, and remove nothing")
        super().add_arguments(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Sweep store after store. Prints the number of each store before the next one, which may be down."""
        done = "would be removed" if options["dry_run"] else "were removed"
        left = _MOST_NAMED
        for sweep in sweeps(state_database(), at_least_one(options, "batch")):
            found = self._sweep(sweep, left, remove=not options["dry_run"])
            self.stdout.write(f"{sweep.store}: {found:,} entries belong to no state and {done}")
            left = max(0, left - found)
        self._bury(state_database(), dry_run=options["dry_run"])

    def _bury(self, database: str, *, dry_run: bool) -> None:
        """Let the next `archive_history` erase entries of the archive that belong to no state."""
        with interruptions(_interrupted_in_the_archive):
            found = sum(map(len, bury_orphans(database, dry_run=dry_run)))
        if found:
            done = "would be erased" if dry_run else "will be erased"
            self.stdout.write(f"archive: {found:,} histories belong to no state and {done} by archive_history")

    def _sweep(self, sweep: Sweep, names: int, *, remove: bool) -> int:
        """Sweep one store, name up to `names` orphans, and return the number of all."""
        found = 0

        def interrupted(error: Exception) -> str:
            return f"interrupted in the {sweep.store}, after {found:,} orphans: {error}. Run the command again"

        with (
            interruptions(interrupted, HistoryUnavailable),
            self.progress(f"entries of the {sweep.store}", sweep.count) as progress,
        ):
            for page in sweep.pages(remove=remove):
                progress.advance(page.entries)
                # Named at once: an interrupted sweep has told which entries are gone.
                orphans = page.orphans[: max(0, names - found)]
                if orphans:
                    progress.close()
                    self._name(sweep, orphans)
                found += len(page.orphans)
        return found

    def _name(self, sweep: Sweep, orphans: Sequence[Key]) -> None:
        names = describe_owners(sweep.database, {orphan.owner for orphan in orphans})
        for owner, text in sweep.described(orphans):
            self.stdout.write(f"{names[owner]}: {text}")


def _interrupted_in_the_archive(error: Exception) -> str:
    return f"interrupted among the watermarks of the archive: {error}. Run the command again"

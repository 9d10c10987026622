"""``manage.py sweep_history``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.utils import Error

from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.maintenance.naming import described
from xblock_user_state.maintenance.orphans import Orphan, Sweep, sweeps
from xblock_user_state.management.arguments import at_least_one
from xblock_user_state.management.progress import Progress
from xblock_user_state.store.databases import state_database

_NAMED = 20


class Command(BaseCommand):
    """Removes history that belongs to no state row; can be interrupted and run again at any time."""

    help = (
        "Finds history entries whose learner has no state in the block, or that are not of this state, in every store, "
        "and removes them. What the ORM deletes leaves none; SQL and restored backups do."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
        parser.add_argument("--batch", type=int, default=500, metavar="N", help="entries looked at at a time (500)")

    def handle(self, *_: Any, **options: Any) -> None:
        """Sweep store after store. What was removed is told store by store, also when a later one can't be reached."""
        done = "would be removed" if options["dry_run"] else "were removed"
        left = _NAMED
        for sweep in sweeps(state_database(), at_least_one(options, "batch")):
            found = self._sweep(sweep, left, remove=not options["dry_run"])
            self.stdout.write(f"{sweep.store}: {found:,} entries belong to no state and {done}")
            left = max(0, left - found)

    def _sweep(self, sweep: Sweep, names: int, *, remove: bool) -> int:
        """Sweep one store, name so many of the orphans, and return how many there were."""
        found = 0
        try:
            progress = Progress(self.stdout, f"entries of the {sweep.store}", sweep.count)
            for page in sweep.pages(remove=remove):
                progress.advance(page.entries)
                orphans = page.orphans[: max(0, names - found)]
                if orphans:
                    progress.close()
                    self._name(sweep, orphans)
                found += len(page.orphans)
            progress.close()
        except (Error, ServiceUnavailable) as error:
            raise CommandError(
                f"interrupted in the {sweep.store}, after {found:,} orphans: {error}. Run the command again"
            ) from error
        return found

    def _name(self, sweep: Sweep, orphans: Sequence[Orphan]) -> None:
        names = described(sweep.database, {orphan.owner for orphan in orphans})
        for orphan in orphans:
            self.stdout.write(f"{names[orphan.owner]}: revision {orphan.revision} in the {sweep.store}: {orphan.why}")

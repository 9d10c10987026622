"""``manage.py compact_history``: pack old history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from xblock_user_state.maintenance.checkpoint import BadCheckpoint
from xblock_user_state.maintenance.compaction import Compacted, Compaction
from xblock_user_state.management.ages import AGE_HELP, age
from xblock_user_state.management.base import interruptions, selected
from xblock_user_state.management.passing import PassCommand, checkpoint_of_all
from xblock_user_state.store.databases import state_database

STATE_FILE = "compact_history.json"


class Command(PassCommand):
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
            help=f"pack entries of at least this age: {AGE_HELP}",
        )
        self.add_pass_arguments(parser, "pack", STATE_FILE)

    def handle(self, *_: Any, **options: Any) -> None:
        """Run one pass, or go on with an interrupted one."""
        rate, database = self.rate(options), state_database()
        before = datetime.now(UTC) - age(options["older_than"])
        compaction = Compaction(database, before, *selected(database, options))
        done = Compacted()

        def interrupted(error: Exception) -> str:
            return f"interrupted after {done.rows:,} rows: {error}. Run the command again: what is packed stays packed"

        try:
            with interruptions(interrupted, OSError):
                self.make_pass(compaction, done, checkpoint_of_all(options, database, "compaction"), rate)
        except BadCheckpoint as error:
            raise CommandError(str(error)) from error
        self._report(done)

    def _report(self, done: Compacted) -> None:
        self.stdout.write(f"{done.entries:,} entries of {done.rows:,} rows were packed into {done.packs:,} packs.")
        if done.packs:
            self.stdout.write(f"Their bodies took {done.before:,} bytes, and take {done.after:,}.")
        if done.left:
            self.stdout.write(
                f"{done.left:,} old entries can't be read, or are there twice, and stay: run check_history."
            )

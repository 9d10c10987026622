"""Forgets the answers of named writes that nobody repeats any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from xblock_user_state.maintenance.answered import forget_answers
from xblock_user_state.management.base import HistoryCommand, at_least_one, interruptions
from xblock_user_state.store.databases import state_database

_KEPT = timedelta(days=1)


class Command(HistoryCommand):
    """Deletes the answers of named writes; can be interrupted and run again at any time, while the site runs."""

    help = "Deletes the answers of writes over HTTP that are older than a day. Run it daily on a host with the service."
    batch = 500
    batch_help = "answers deleted at a time"

    def handle(self, *_: Any, **options: Any) -> None:
        """Delete page after page, and print the number."""
        size, done = at_least_one(options, "batch"), 0

        def interrupted(error: Exception) -> str:
            return f"interrupted after {done:,} answers: {error}. Run the command again"

        with interruptions(interrupted), self.progress("answers") as progress:
            for number in forget_answers(state_database(), datetime.now(UTC) - _KEPT, size):
                done += number
                progress.advance(number)
        self.stdout.write(f"{done:,} answers were forgotten")

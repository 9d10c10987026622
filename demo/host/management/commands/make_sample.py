"""``manage.py make_sample``: fifty invented learners with some months of work in the demo's course."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandParser

from demo.host import sample
from demo.host.preparing import prepare


class Command(BaseCommand):
    """Makes the sample once: a second call leaves it as it is."""

    help = "Makes fifty invented learners with some months of work in the demo's course, unless they are there already."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the option for a quick sample."""
        parser.add_argument(
            "--only", nargs="+", metavar="NAME", default=sample.ALL, help="learners who work; the others do nothing"
        )

    def handle(self, *, only: list[str], **_: Any) -> None:
        """Make the sample, and print the number of clicks."""
        prepare()
        if sample.is_made():
            self.stdout.write("The invented learners are there already.")
            return
        self.stdout.write("Making fifty invented learners; this takes up to a minute.")
        self.stdout.flush()
        clicks = sample.make(only)
        self.stdout.write(f"They clicked {clicks} times, from March to June 2026.")

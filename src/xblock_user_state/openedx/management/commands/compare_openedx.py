"""``manage.py compare_openedx``: compare the old tables of an Open edX site with this store."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from xblock_user_state.management.base import interruptions
from xblock_user_state.openedx.importing.comparing import Comparison, Difference
from xblock_user_state.openedx.management.old_site import OldSiteCommand
from xblock_user_state.store.databases import state_database


class Command(OldSiteCommand):
    """Names each field that differs. Changes nothing, and may run while the site does."""

    help = (
        "Compares the learner state in old tables of an Open edX site with this store, by learner, block and field. "
        "Prints nothing if nothing differs; exit status 1 if anything does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        super().add_arguments(parser)
        parser.add_argument("--history", action="store_true", help="compare each history entry, too")
        parser.add_argument("--courses", action="store_true", help="print rows and checksums of each course")
        parser.add_argument("--most", type=int, default=1000, metavar="N", help="name so many differences (1000)")

    def handle(self, *_: Any, **options: Any) -> None:
        """Compare all rows of the selection."""
        shown = 0
        with interruptions(lambda error: f"interrupted: {error}. Run the command again"):
            site = self.site(options)
            selection = self.selection(options, site)
            comparison = Comparison(site, state_database(), selection, with_history=options["history"])
            with self.progress("rows", lambda: site.count(selection)) as progress:
                for rows, found in comparison.run():
                    progress.advance(rows)
                    if found:
                        progress.close()
                        shown += self._name(found, options["most"] - shown)
        if options["courses"]:
            for course, sums in sorted(comparison.courses.items()):
                self.stdout.write(f"{course}: {sums}")
        if comparison.counts:
            by_field = ", ".join(f"{name} {number:,}" for name, number in comparison.counts.most_common())
            raise CommandError(f"{comparison.counts.total():,} fields differ: {by_field}")

    def _name(self, found: list[Difference], most: int) -> int:
        for difference in found[: max(0, most)]:
            self.stdout.write(str(difference))
        return len(found)

"""``manage.py import_openedx``: import the old tables of an Open edX site while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from xblock_user_state.management.base import at_least_one, interruptions
from xblock_user_state.management.pacing import paced
from xblock_user_state.openedx.importing.learners import Done
from xblock_user_state.openedx.importing.passes import GROUP, NoFirstPass, Pass
from xblock_user_state.openedx.importing.report import Report
from xblock_user_state.openedx.management.old_site import OldSiteCommand
from xblock_user_state.openedx.old.tables import EXTENDED
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.resting import resting


class Command(OldSiteCommand):
    """Imports the old tables, learner by learner; can be interrupted and run again at any time."""

    help = (
        "Imports the learner state of an Open edX site, with scores and complete history, while the site runs. Run it "
        "once, then with --catch-up until little is left to do. It reports each row that it did not take as it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        super().add_arguments(parser)
        parser.add_argument("--report", type=Path, metavar="FILE", help="append a line of JSON for each such row")
        parser.add_argument("--dry-run", action="store_true", help="report, and write nothing to the database")
        parser.add_argument("--catch-up", action="store_true", help="take what changed since the pass before began")
        parser.add_argument("--batch", type=int, default=GROUP, metavar="N", help=f"rows in a transaction ({GROUP})")
        parser.add_argument("--rate", type=int, metavar="ROWS", help="read at most this many rows in a second")
        parser.add_argument(
            "--source-wins",
            action="store_true",
            help="replace rows that this store has changed meanwhile: right as long as the old tables serve",
        )
        parser.add_argument(
            "--remove-gone", action="store_true", help="remove states whose old rows were deleted since their import"
        )
        parser.add_argument("--verify", action="store_true", help="then compare all rows, and check their history")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run one pass, and print what was done. An error of a database ends it with exit status 1."""
        if options["remove_gone"] and (options["catch_up"] or options["course"]):
            raise CommandError("--remove-gone needs a pass over whole learners: without --catch-up and --course")
        rate = None if options["rate"] is None else at_least_one(options, "rate")
        with interruptions(lambda error: f"--report can't be written: {error}", OSError):
            report = Report(options["report"])
        with interruptions(_interrupted, OSError):
            site = self.site(options)
            if not site.has_extended_history:
                self.stderr.write(_no_extended_history(options["source"]))
            importing = Pass(
                site,
                state_database(),
                report,
                self.selection(options, site),
                dry_run=options["dry_run"],
                source_wins=options["source_wins"],
                remove_gone=options["remove_gone"],
                batch=at_least_one(options, "batch"),
            )
            done = self._run(importing, rate, catch_up=options["catch_up"])
            if not options["catch_up"] and importing.takes_what_has_no_learner:
                for _number in importing.lost_history():
                    pass
        self.stdout.write(f"{done.modules:,} rows with {done.read:,} history entries were read.")
        if options["dry_run"]:
            self.stdout.write("Nothing was written: this was a dry run.")
        else:
            self.stdout.write(f"{done.rows:,} rows and {done.entries:,} history entries were written.")
        for line in report.summary():
            self.stdout.write(line)
        if options["verify"]:
            self._verify(options)

    def _run(self, importing: Pass, rate: int | None, *, catch_up: bool) -> Done:
        try:
            pages = importing.catch_up() if catch_up else importing.run()
            after = None if catch_up else importing.position()
            if after is not None:
                self.stdout.write(f"going on after learner {after}")
            done = Done()
            count = None if catch_up else lambda: importing.site.count(importing.selection, after)
            with self.progress("rows", count) as progress:
                for page in paced(resting(importing.database, pages), lambda page: page.modules + page.read, rate):
                    done += page
                    progress.advance(page.modules)
        except NoFirstPass as error:
            raise CommandError(str(error)) from error
        return done

    def _verify(self, options: dict[str, Any]) -> None:
        """Make all checks, and only then raise ``CommandError`` with what they found."""
        names = ("source", "history_from", "course", "learner", "range")
        checks = {
            "compare_openedx": {"courses": True, **{name: options[name] for name in names}},
            "check_history": {"context": options["course"]},
        }
        found = []
        for name, arguments in checks.items():
            try:
                call_command(name, stdout=self.stdout, **arguments)
            except CommandError as error:
                found.append(f"{name}: {error}")
        if found:
            raise CommandError("\n".join(found))


def _no_extended_history(database: str) -> str:
    return (
        f"The database {database!r} has no table {EXTENDED}. If the site has one in another database, stop, and name "
        "its alias by --history-from: without it, the history is not complete."
    )


def _interrupted(error: Exception) -> str:
    return f"interrupted: {error}. Run the command again: it goes on from there"

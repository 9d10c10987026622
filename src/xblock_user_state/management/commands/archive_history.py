"""``manage.py archive_history``: move early history to an archive, or drop it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from django.core.management.base import CommandError, CommandParser

from xblock_user_state import conf
from xblock_user_state.history.archived.manifest import begin, manifest_of_archive
from xblock_user_state.history.archived.places import ArchiveError, Place, place_of
from xblock_user_state.history.outbox.answers import HistoryUnavailable
from xblock_user_state.maintenance.archive_files import erase, forget_dropped, refuse_other_archive, remove_strays
from xblock_user_state.maintenance.archiving import Archiving, Done
from xblock_user_state.maintenance.checkpoint import BadCheckpoint
from xblock_user_state.maintenance.restoring import Restoring
from xblock_user_state.management.ages import AGE_HELP, age
from xblock_user_state.management.base import interruptions, selected
from xblock_user_state.management.pacing import paced
from xblock_user_state.management.passing import PassCommand, checkpoint_of_all
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.resting import resting

STATE_FILE = "archive_history.json"
_ERRORS = (OSError, ArchiveError, HistoryUnavailable)


class Command(PassCommand):
    """Moves early history entries to Parquet files, drops them, or brings them back; can be interrupted at any time."""

    help = (
        "Moves history entries that are older than an age to Parquet files in a folder or an object store, or drops "
        "them, while the site runs. The newest entry of each state stays. Erases learners and blocks that were deleted "
        "for good from the files. Can be interrupted and run again at any time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        act = parser.add_mutually_exclusive_group(required=True)
        to = "move old entries to this folder or URL, such as s3://bucket/history"
        act.add_argument("--to", metavar="URL", help=to)
        act.add_argument("--drop", action="store_true", help="delete old entries for good")
        act.add_argument("--erase", metavar="URL", help="only erase deleted learners and blocks from this archive")
        act.add_argument("--restore", metavar="URL", help="bring entries back from this archive into the database")
        parser.add_argument("--older-than", metavar="AGE", help=f"entries of at least this age: {AGE_HELP}")
        self.add_pass_arguments(parser, "move", STATE_FILE)
        parser.add_argument("--dry-run", action="store_true", help="count the entries, and change nothing")

    def handle(self, *_: Any, **options: Any) -> None:
        """Do the one thing that was asked for."""
        database = state_database()
        url = options["to"] or options["erase"] or options["restore"]
        rate = self.rate(options)
        if options["erase"] or options["restore"]:
            _refuse(options, "older_than", "dry_run")
        with interruptions(str, *_ERRORS):
            place = place_of(url) if url else None
            if place and not options["to"]:
                manifest_of_archive(place)
            if place:
                refuse_other_archive(database, place)
        if place and options["erase"]:
            self._erase(database, place)
        elif place and options["restore"]:
            self._restore(Restoring(database, place, *selected(database, options)), rate)
        else:
            self._archive(_archiving(database, place, options), options, rate)
        self._name_archive(url)

    def _erase(self, database: str, place: Place) -> None:
        with interruptions(_again, *_ERRORS), place.alone():
            if not self._erase_deleted(database, place):
                self.stdout.write("No deleted histories wait to be erased.")

    def _erase_deleted(self, database: str, place: Place) -> bool:
        """Erase what is deleted; tell whether there was any."""
        done = None
        remove_strays(place)
        for done in erase(database, place):
            self.stdout.write(
                f"{done.owners:,} deleted histories were erased: {done.entries:,} entries in {done.files:,} files."
            )
        return done is not None

    def _restore(self, restoring: Restoring, rate: int | None) -> None:
        entries = 0

        def interrupted(error: Exception) -> str:
            return f"interrupted after {entries:,} entries: {error}. Run the command again: what came back stays"

        with interruptions(interrupted, *_ERRORS), restoring.place.alone(), self.progress("entries") as progress:
            for step in paced(resting(restoring.database, restoring.steps()), lambda step: step.entries, rate):
                entries += step.entries
                progress.advance(step.entries)
        self.stdout.write(f"{entries:,} entries came back from the archive.")

    def _archive(self, archiving: Archiving, options: dict[str, Any], rate: int | None) -> None:
        job = "archiving" if archiving.place else "dropping"
        checkpoint = None if archiving.dry_run else checkpoint_of_all(options, archiving.database, job)
        done = Done()

        def interrupted(error: Exception) -> str:
            return f"interrupted after {done.rows:,} rows: {error}. Run the command again: what is done stays done"

        try:
            with interruptions(interrupted, *_ERRORS), _alone(archiving):
                if archiving.place and not archiving.dry_run:
                    begin(archiving.place)
                    self._erase_deleted(archiving.database, archiving.place)
                elif not archiving.dry_run:
                    forget_dropped(archiving.database)
                self.make_pass(archiving, done, checkpoint, rate)
        except BadCheckpoint as error:
            raise CommandError(str(error)) from error
        self._report(archiving, done)

    def _report(self, archiving: Archiving, done: Done) -> None:
        if archiving.dry_run:
            act = "would go (--dry-run)"
        elif archiving.place:
            act = f"went to {done.files:,} files of {done.bytes:,} bytes"
        else:
            act = "were dropped"
        self.stdout.write(f"{done.entries:,} entries of {done.rows:,} rows {act}.")
        if done.left:
            self.stdout.write(
                f"{done.left:,} rows have old entries that stay: they wait for the relay or the back-fill, were "
                "changed meanwhile, or can't be read: run check_history if they stay again."
            )

    def _name_archive(self, url: str | None) -> None:
        if url and _path(conf.history_archive() or "") != _path(url):
            self.stdout.write(f'Readers do not look there: XBLOCK_USER_STATE["HISTORY_ARCHIVE"] is not {url!r}.')


def _path(url: str) -> PurePath:
    """Return a path or URL without the scheme of files and a slash at its end: two names of one place are equal."""
    return PurePath(url.removeprefix("file://"))


def _again(error: Exception) -> str:
    return f"{error}. Run the command again"


def _refuse(options: dict[str, Any], *names: str) -> None:
    for name in names:
        if options[name]:
            raise CommandError(f"--{name.replace('_', '-')} goes with --to and --drop only")


def _archiving(database: str, place: Place | None, options: dict[str, Any]) -> Archiving:
    if options["older_than"] is None:
        raise CommandError(f"--older-than is missing: {AGE_HELP}")
    before = datetime.now(UTC) - age(options["older_than"])
    student_id, block_ids = selected(database, options)
    return Archiving(database, before, place, student_id, block_ids, options["dry_run"])


def _alone(archiving: Archiving) -> AbstractContextManager[None]:
    return archiving.place.alone() if archiving.place and not archiving.dry_run else nullcontext()

"""``manage.py check_history``: verify the history of every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from xblock_user_state import conf
from xblock_user_state.history.archived import places
from xblock_user_state.history.entries import Owner
from xblock_user_state.maintenance.archive_files import damaged_files
from xblock_user_state.maintenance.checkpoint import BadCheckpoint
from xblock_user_state.maintenance.naming import first_missing
from xblock_user_state.maintenance.orphans import Sweep, sweeps
from xblock_user_state.maintenance.passes import ROWS, Place, StateFile
from xblock_user_state.maintenance.shares import Share, share_of
from xblock_user_state.maintenance.verification import Findings, Verification, count_stranded
from xblock_user_state.management.base import (
    HistoryCommand,
    add_using,
    at_least_one,
    blocks_of_context,
    interruptions,
    replica_to_read,
)
from xblock_user_state.management.fault_lines import FAULT, NOTE, FaultLines
from xblock_user_state.management.progress import Progress
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
        parser.add_argument("--part", metavar="K/N", help="only part K of N parts of the learners, such as 2/8")
        parser.add_argument("--sample", metavar="PERCENT", help="only a sample of the learners, such as 1%%")
        parser.add_argument("--report", type=Path, metavar="FILE", help="append a line of JSON for each fault and note")
        parser.add_argument(
            "--state-file", type=Path, metavar="FILE", help="keep the position here: an interrupted check goes on there"
        )
        add_using(parser)
        super().add_arguments(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Check all rows and, unless a context is named, all entries without a row."""
        size = at_least_one(options, "batch")
        database, replica = state_database(), replica_to_read(options)
        total = Findings()

        def interrupted(error: Exception) -> str:
            return f"interrupted after {total.rows:,} rows: {error}. Run the command again"

        with interruptions(interrupted, OSError, places.ArchiveError):
            share = _share(options)
            self._lines = FaultLines(options["report"])
            block_ids = None if options["context"] is None else blocks_of_context(database, options["context"])
            asked = {name: options[name] for name in ("context", "late_start", "part", "sample")}
            self._place_file = StateFile(options["state_file"], database, asked)
            begun = self._begun()
            total.add_numbers(begun.totals)
            orphans = begun.totals.get("orphans", 0)
            if begun.stage == ROWS:
                after = None if begun.after is None else begun.after.owner
                late = options["late_start"]
                self._verify(Verification(database, block_ids, size, late, share, after, replica, _archive()), total)
            # An orphan's block may not be registered any more, so its context may be unknown.
            if block_ids is None:
                orphans = self._orphans(list(sweeps(database, size, share, replica)), begun, total, orphans)
            damaged = self._files() if block_ids is None and share.is_all else 0
            stranded = count_stranded(database)
            self._lines.end(**total.numbers(), orphans=orphans, stranded=stranded, damaged_files=damaged)
            self._place_file.clear()
        self._report(total, orphans, stranded, damaged)

    def _begun(self) -> Place:
        try:
            begun = self._place_file.read()
        except BadCheckpoint as error:
            raise CommandError(str(error)) from error
        # A file that can't be written is an error now, and not hours later.
        self._place_file.write(*begun)
        if begun.after is not None:
            self.stdout.write(f"going on in the {begun.stage}, after learner {begun.after[0]}, block {begun.after[1]}")
        return begun

    def _verify(self, verification: Verification, total: Findings) -> None:
        with self.progress("rows", verification.count, total.rows) as progress:
            for page in verification.pages():
                progress.advance(page.rows)
                total.add_numbers(page.numbers())
                self._tell(verification.database, FAULT, page.faults, progress)
                self._tell(verification.database, NOTE, page.notes, progress)
                self._place_file.write(ROWS, page.last and (*page.last, 0), total.numbers())

    def _orphans(self, stores: Sequence[Sweep], begun: Place, total: Findings, found: int) -> int:
        """Name entries without a row, and return their number."""
        names = [sweep.store for sweep in stores]
        first = names.index(begun.stage) if begun.stage in names else 0
        for sweep in stores[first:]:
            after = begun.after if sweep.store == begun.stage else None
            with self.progress(f"entries of the {sweep.store}", sweep.count) as progress:
                for page in sweep.pages(remove=False, after=after):
                    progress.advance(page.entries)
                    found += len(page.orphans)
                    faults = [(owner, f"{text}; run sweep_history") for owner, text in sweep.described(page.orphans)]
                    self._tell(sweep.database, FAULT, faults, progress)
                    self._place_file.write(sweep.store, page.last, {**total.numbers(), "orphans": found})
        return found

    def _files(self) -> int:
        """Name damaged files of the archive, and return their number."""
        archive = _archive()
        damaged = 0
        if archive is not None:
            with self.progress("files of the archive") as progress:
                for _, fault in damaged_files(archive):
                    progress.advance(1)
                    if fault:
                        damaged += 1
                        progress.close()
                        self.stdout.write(f"archive: {fault}")
        return damaged

    def _tell(self, database: str, kind: str, lines: Sequence[tuple[Owner, str]], progress: Progress) -> None:
        """Print lines, and report them."""
        self.name(database, lines, progress)
        self._lines.add(kind, lines)

    def _report(self, total: Findings, orphans: int, stranded: int, damaged: int) -> None:
        self.stdout.write(f"{total.rows:,} rows with {total.entries:,} entries were checked.")
        if total.hidden:
            self.stdout.write(f"{total.hidden:,} of the entries are hidden from readers, as the settings say.")
        if total.lost:
            self.stdout.write(f"{total.lost:,} entries were lost and are closed off.")
        if total.cut_rows:
            self.stdout.write(f"The early entries of {total.cut_rows:,} rows are in the archive, or were dropped.")
        if total.noted_rows:
            self.stdout.write(
                f"{total.noted_rows:,} rows have times that disagree; revisions decide, so that is no fault."
            )
        verdict = " ".join(_verdict(total, orphans, stranded, damaged))
        if verdict:
            raise CommandError(verdict)


def _archive() -> places.Place | None:
    url = conf.history_archive()
    return None if url is None else places.place_of(url)


def _share(options: dict[str, Any]) -> Share:
    try:
        return share_of(options["part"], options["sample"])
    except ValueError as error:
        raise CommandError(str(error)) from error


def _verdict(total: Findings, orphans: int, stranded: int, damaged: int) -> Iterator[str]:
    if total.wrong_rows:
        yield f"{total.wrong_rows:,} rows disagree with their history: run repair_history --dry-run."
    if total.late_rows:
        yield first_missing(total.late_rows)
    if orphans:
        yield f"{orphans:,} entries belong to no state: run sweep_history."
    if stranded:
        yield f"{stranded:,} entries wait in the outbox, and {conf.no_extended_history()}; then run relay_history."
    if total.archive_gaps:
        yield f"{total.archive_gaps:,} rows lack entries in the archive: bring its files back from a backup."
    if damaged:
        yield f"{damaged:,} files of the archive are missing or damaged: bring them back from a backup."

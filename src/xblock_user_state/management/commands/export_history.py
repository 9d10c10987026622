"""``manage.py export_history``: write the decoded history to files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from xblock_user_state.archive.format import PART_BYTES, ExportError, ExportWriter
from xblock_user_state.archive.selection import Selection
from xblock_user_state.history.entries import Key
from xblock_user_state.interface import UserStateError
from xblock_user_state.management.base import (
    ProgressCommand,
    add_using,
    interruptions,
    replica_to_read,
    selected,
)
from xblock_user_state.store.databases import state_database

_MEBIBYTE = 1024 * 1024
_FILTERS = ("context", "learner", "since", "until")


class Command(ProgressCommand):
    """Writes the decoded history into a folder of JSON lines and a manifest."""

    help = "Exports the decoded history to a folder of JSON lines (zstd) with a manifest of counts and checksums."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write into; it is created")
        parser.add_argument("--context", metavar="KEY", help="only this course run or library")
        parser.add_argument("--learner", metavar="USERNAME", help="only this learner")
        parser.add_argument("--since", metavar="TIME", help="only entries from this time on (ISO 8601)")
        parser.add_argument("--until", metavar="TIME", help="only entries before this time (ISO 8601)")
        add_using(parser)
        parser.add_argument("--resume", action="store_true", help="continue an interrupted export")
        parser.add_argument(
            "--part-size",
            type=float,
            default=PART_BYTES / _MEBIBYTE,
            metavar="MIB",
            help="uncompressed size of a part, in MiB (64); an interrupted export repeats one part at most",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Export, or continue an export."""
        part_bytes = int(options["part_size"] * _MEBIBYTE)
        if part_bytes < 1:
            raise CommandError(f"a part can't have {options['part_size']} MiB; give --part-size a number above 0")
        options.update({name: _time(options[name]) for name in ("since", "until")})
        selection = _selection(options)
        filters = {name: _text(options[name]) for name in _FILTERS}
        try:
            writer = ExportWriter(Path(options["out"]), filters, resume=options["resume"], part_bytes=part_bytes)
        except (ExportError, OSError) as error:
            raise CommandError(str(error)) from error
        if not writer.manifest["complete"]:
            self._export(selection, writer)
        entries, damaged = writer.manifest["entries"], writer.manifest["damaged"]
        self.stdout.write(f"{entries:,} entries in {len(writer.manifest['files'])} parts, {damaged:,} of them damaged")

    def _export(self, selection: Selection, writer: ExportWriter) -> None:
        after = None if writer.last_key is None else Key.from_texts(writer.last_key)
        try:
            with interruptions(_interrupted, OSError, UserStateError), self.progress("entries") as progress:
                for key, line, is_damaged in selection.entries(after):
                    writer.write(key, line, is_damaged=is_damaged)
                    progress.advance(1)
                writer.finish()
        finally:
            writer.close()


def _interrupted(error: Exception) -> str:
    return f"interrupted: {error}. Go on with --resume"


def _selection(options: dict[str, Any]) -> Selection:
    database = state_database()
    student_id, block_ids = selected(database, options)
    replica = replica_to_read(options)
    return Selection(database, student_id, block_ids, options["since"], options["until"], replica)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is not a time in ISO 8601, such as 2026-02-01T00:00:00+00:00") from error
    # A time without an offset is UTC, as all stored times are.
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _text(value: Any) -> str | None:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value

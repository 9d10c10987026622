"""Base of the commands: closed pipes, checked arguments, progress, and errors that end a command with exit status 1."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.utils import Error
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import LearningContextKey

from xblock_user_state import conf
from xblock_user_state.history.entries import Owner
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.maintenance.naming import describe_owners
from xblock_user_state.management.progress import Count, Progress
from xblock_user_state.state.keys import identify_context
from xblock_user_state.store.iteration import blocks_of


class PipedCommand(BaseCommand):
    """A command that ends quietly, with exit status 1, when the reader of its output ends: ``check_history | head``."""

    def execute(self, *args: Any, **options: Any) -> Any:
        """Run the command, and write out its output."""
        try:
            return super().execute(*args, **options)
        except BrokenPipeError:
            raise SystemExit(1) from None
        finally:
            self._flush()

    def _flush(self) -> None:
        try:
            self.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes once more at its end, and would print the error.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stdout.fileno())
            os.close(nowhere)


class ProgressCommand(PipedCommand):
    """A command that shows its progress."""

    @contextmanager
    def progress(self, things: str, count: Count | None = None, before: int = 0) -> Iterator[Progress]:
        """Show progress on a terminal, and wipe the line at the end, also after an error."""
        progress = Progress(self.stdout, things, count, before)
        try:
            yield progress
        finally:
            progress.close()


class HistoryCommand(ProgressCommand):
    """A command that works through history entries in batches; it has the option ``--batch``."""

    batch: int
    batch_help: str

    def name(self, database: str, lines: Sequence[tuple[Owner, str]], progress: Progress) -> None:
        """Print a line for each owner and text, after the progress line is wiped."""
        if lines:
            progress.close()
            names = describe_owners(database, {owner for owner, _ in lines})
            for owner, text in lines:
                self.stdout.write(f"{names[owner]}: {text}")

    def add_arguments(self, parser: CommandParser) -> None:
        """Add ``--batch``."""
        text = f"{self.batch_help} ({self.batch})"
        parser.add_argument("--batch", type=int, default=self.batch, metavar="N", help=text)


@contextmanager
def interruptions(message: Callable[[Exception], str], *others: type[Exception]) -> Iterator[None]:
    """Raise ``CommandError`` with `message` for a database error, `ServiceUnavailable`, and `others`."""
    expected: tuple[type[Exception], ...] = (Error, ServiceUnavailable, *others)
    try:
        yield
    except BrokenPipeError:
        # It is an OSError, and about the output: see `PipedCommand`.
        raise
    except expected as error:
        raise CommandError(message(error)) from error


def at_least_one(options: Mapping[str, Any], name: str) -> int:
    """Return the number that an option has. Raises ``CommandError`` if it is below 1."""
    number: int = options[name]
    if number < 1:
        raise CommandError(f"--{name} is {number}; it must be 1 or more")
    return number


def need_extended_history() -> None:
    """Raise ``CommandError`` unless an extended history is configured."""
    if not conf.has_extended_history():
        raise CommandError(conf.no_extended_history())


def blocks_of_context(database: str, key: str) -> list[int]:
    """Return the sorted ids of the registered blocks of a course run or library. One statement.

    Raises ``CommandError`` if there are none: a misspelt key must not pass as a course without faults.
    """
    try:
        context_id = identify_context(LearningContextKey.from_string(key))
    except (InvalidKeyError, ValueError) as error:
        raise CommandError(f"{key!r} is not a course or library key") from error
    block_ids = sorted(blocks_of(database, context_id, None))
    if not block_ids:
        raise CommandError(f"no learner has ever had state in {key!r}; is it spelt right?")
    return block_ids

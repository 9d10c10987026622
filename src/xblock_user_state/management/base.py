"""Base of the commands: closed pipes, checked arguments, progress, and errors that end a command with exit status 1."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
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
from xblock_user_state.store.databases import reports_database, state_database
from xblock_user_state.store.iteration import blocks_of
from xblock_user_state.store.users import user_id


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


def add_actor(parser: CommandParser) -> None:
    """Add ``--actor`` and ``--reason``, which actions need."""
    parser.add_argument("--actor", required=True, metavar="USERNAME", help="the user who acts")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; the log keeps it")


def acting_user(options: Mapping[str, Any]) -> Any:
    """Return the user whom ``--actor`` names. One statement."""
    return user_named(options["actor"], "--actor: ")


def user_named(username: str, before: str = "") -> Any:
    """Return a user. One statement. Raises ``CommandError``, with a text `before` the message, if there is none."""
    model = get_user_model()
    user = model._base_manager.filter(**{model.USERNAME_FIELD: username}).first()
    if user is None:
        raise CommandError(f"{before}there is no user {username!r}")
    return user


def add_using(parser: CommandParser) -> None:
    """Add ``--using``, for a command that may read a replica."""
    parser.add_argument(
        "--using",
        metavar="ALIAS",
        help="read this database, such as a replica of that of learner state; the setting REPLICA is the default",
    )


def replica_to_read(options: Mapping[str, Any]) -> str | None:
    """Return the alias of the replica that a command reads; ``None`` for the primary."""
    try:
        alias = reports_database(options["using"])
    except ValueError as error:
        raise CommandError(f"--using: {error}" if options["using"] else str(error)) from error
    return None if alias == state_database() else alias


def need_extended_history() -> None:
    """Raise ``CommandError`` unless an extended history is configured."""
    if not conf.has_extended_history():
        raise CommandError(conf.no_extended_history())


def add_selection(parser: CommandParser) -> None:
    """Add ``--context`` and ``--learner``, of which one may be given."""
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--context", metavar="KEY", help="only this course run or library")
    only.add_argument("--learner", metavar="USERNAME", help="only this learner")


def selected(database: str, options: Mapping[str, Any]) -> tuple[Any, list[int] | None]:
    """Return the id of the learner whom ``--learner`` names, and the sorted ids of the blocks of ``--context``.

    ``None`` for an option that is not given. One statement for each. Raises ``CommandError`` for unknown names.
    """
    student_id = block_ids = None
    if options["learner"] is not None:
        student_id = user_id(options["learner"])
        if student_id is None:
            raise CommandError(f"there is no user {options['learner']!r}")
    if options["context"] is not None:
        block_ids = blocks_of_context(database, options["context"])
    return student_id, block_ids


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

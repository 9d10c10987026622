"""``manage.py relay_history``: ship the outbox to the extended history."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import current_thread, main_thread
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError, CommandParser

from xblock_user_state.history.entries import Owner
from xblock_user_state.history.outbox.answers import HistoryUnavailable
from xblock_user_state.history.outbox.relay import Relay, describe_refused
from xblock_user_state.management.base import HistoryCommand, at_least_one, interruptions, need_extended_history
from xblock_user_state.management.progress import count_or_none
from xblock_user_state.store.databases import state_database


class Command(HistoryCommand):
    """Ships history entries from the outbox to the extended history; safe to run several times at once."""

    help = (
        "Ships the history entries that wait in the outbox to the extended history. Several relays may run at once. "
        "SIGTERM ends it after its current transaction, with status 0. Exit status 1 if the history database is down."
    )
    batch = 500
    batch_help = "rows in a transaction"

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        how_long = parser.add_mutually_exclusive_group()
        how_long.add_argument("--once", action="store_true", help="ship the waiting entries, and end (the default)")
        how_long.add_argument("--follow", action="store_true", help="go on until stopped; retry after failures")
        parser.add_argument(
            "--decoded-copy",
            action="store_true",
            help="copy the shipped entries decoded, as openedx_views --history does",
        )
        super().add_arguments(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Ship the waiting entries once, or follow the outbox."""
        size = at_least_one(options, "batch")
        need_extended_history()
        relay = Relay(state_database(), size, shipped=_copy() if options["decoded_copy"] else None)

        def failed(error: Exception) -> str:
            return f"The database {relay.database!r}, which has the outbox, failed: {error}. Run the command again"

        with interruptions(failed), stopped_by_signals() as stop:
            self._run(relay, stop, follow=options["follow"])

    def _run(self, relay: Relay, stop: Stop, *, follow: bool) -> None:
        shipped = 0
        try:
            with self.progress("entries", None if follow else relay.waiting) as progress:
                for rows in relay.follow(stop.pause) if follow else relay.all():
                    shipped += rows
                    progress.advance(rows)
                    if stop.came:
                        break
        except HistoryUnavailable as error:
            raise CommandError(_unavailable(error, shipped, count_or_none(relay.waiting))) from error
        self.stdout.write(f"{shipped:,} entries were shipped.")
        if stop.came:
            self.stdout.write("Stopped by a signal.")
        elif relay.refused:
            raise CommandError(f"The history database is up; {describe_refused(relay.refused)}")
        elif waiting := count_or_none(relay.waiting):
            self.stdout.write(f"{waiting:,} entries came meanwhile, or another process is shipping them.")


def _copy() -> Callable[[Collection[Owner]], object]:
    """Return the function that copies entries of some owners. Raises ``CommandError`` without the app that has it."""
    try:
        # By its label, since the app is above this room.
        config: Any = apps.get_app_config("xblock_user_state_openedx")
    except LookupError:
        raise CommandError("--decoded-copy needs 'xblock_user_state.openedx' in INSTALLED_APPS") from None
    copy: Callable[[Collection[Owner]], object] = config.copy_of(state_database())
    return copy


def _unavailable(error: HistoryUnavailable, shipped: int, waiting: int | None) -> str:
    left = "the others wait" if waiting is None else f"{waiting:,} wait"
    return (
        f"The history database can't be written to: {error}. {shipped:,} entries were shipped before; {left} "
        "in the outbox, where readers see them. See that it is up and migrated (migrate_all). Run the command again"
    )


class Stop:
    """A request to stop, and pauses that it ends.

    A ``SimpleQueue``, whose ``put`` is safe in a signal handler. ``Event.set`` is not: it may wait for ever for a lock
    that the interrupted thread holds.
    """

    def __init__(self) -> None:
        self.came = False
        self._requests: SimpleQueue[None] = SimpleQueue()

    def now(self, *_: Any) -> None:
        """Request the stop. Works as a signal handler."""
        self.came = True
        self._requests.put(None)

    def pause(self, seconds: float) -> bool:
        """Wait for `seconds` or until the stop; return whether to go on."""
        if seconds and not self.came:
            with suppress(Empty):
                self._requests.get(timeout=seconds)
        return not self.came


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Yield a `Stop` that SIGTERM and SIGINT request. Other threads than the main one can't handle signals."""
    stop = Stop()
    # Python lets only the main thread set signal handlers.
    numbers = (signal.SIGTERM, signal.SIGINT) if current_thread() is main_thread() else ()
    before = {number: signal.signal(number, stop.now) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

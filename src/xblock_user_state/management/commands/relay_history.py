"""``manage.py relay_history``."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import current_thread, main_thread
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.outbox.relay import Relay, describe_refused
from xblock_user_state.history.outbox.shipping import HistoryUnavailable
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.management.progress import Progress, counted
from xblock_user_state.store.databases import state_database


class Command(BaseCommand):
    """Ships history entries from the outbox to the extended history; safe to run several times at once."""

    help = (
        "Ships the history entries that wait in the outbox to the extended history. Several may run at once. SIGTERM "
        "ends it after the transaction it is in, with status 0. Exit status 1 if the history database can't be reached."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        how_long = parser.add_mutually_exclusive_group()
        how_long.add_argument("--once", action="store_true", help="ship what waits now, and end (this is the default)")
        how_long.add_argument("--follow", action="store_true", help="go on until stopped, over failures too")
        parser.add_argument("--batch", type=int, default=500, metavar="N", help="rows in a transaction (500)")

    def handle(self, *_: Any, **options: Any) -> None:
        """Ship once, or follow."""
        if options["batch"] < 1:
            raise CommandError(f"--batch is {options['batch']}; it must be 1 or more")
        if not conf.has_extended_history():
            raise CommandError(conf.no_extended_history())
        relay = Relay(state_database(), options["batch"])
        try:
            with stopped_by_signals() as stop:
                self._run(relay, stop, follow=options["follow"])
        except (Error, ServiceUnavailable) as error:
            raise CommandError(
                f"The database {relay.database!r}, which has the outbox, failed: {error}. Run the command again"
            ) from error

    def _run(self, relay: Relay, stop: Stop, *, follow: bool) -> None:
        shipped = 0
        progress = Progress(self.stdout, "entries", None if follow else relay.waiting)
        try:
            for rows in relay.follow(stop.pause) if follow else relay.once():
                shipped += rows
                progress.advance(rows)
                if stop.came:
                    break
        except HistoryUnavailable as error:
            raise CommandError(_unavailable(error, shipped, counted(relay.waiting))) from error
        finally:
            progress.close()
        self.stdout.write(f"{shipped:,} entries were shipped.")
        if stop.came:
            self.stdout.write("Stopped by a signal.")
        elif relay.refused:
            raise CommandError(f"The history database is up; {describe_refused(relay.refused)}")
        elif waiting := counted(relay.waiting):
            self.stdout.write(f"{waiting:,} entries came meanwhile, or another process is shipping them.")


def _unavailable(error: HistoryUnavailable, shipped: int, waiting: int | None) -> str:
    left = "the others wait" if waiting is None else f"{waiting:,} wait"
    return (
        f"The history database can't be written to: {error}. {shipped:,} entries were shipped before; {left} "
        "in the outbox, where readers see them. See that it is up and migrated (migrate_all). Run the command again"
    )


class Stop:
    """Whether to stop, and pauses that end when that is so.

    Not an ``Event``: its ``set`` in a signal handler waits for ever for a lock that the thread which it interrupts may
    hold. A ``SimpleQueue`` is made for that.
    """

    def __init__(self) -> None:
        self.came = False
        self._news: SimpleQueue[None] = SimpleQueue()

    def now(self, *_: Any) -> None:
        """Stop: a signal handler."""
        self.came = True
        self._news.put(None)

    def pause(self, seconds: float) -> bool:
        """Wait for so many seconds, or until it is time to stop; say whether to go on."""
        if seconds and not self.came:
            with suppress(Empty):
                self._news.get(timeout=seconds)
        return not self.came


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Give what SIGTERM and SIGINT stop, in place of what they usually do; the main thread alone gets them."""
    stop = Stop()
    numbers = (signal.SIGTERM, signal.SIGINT) if current_thread() is main_thread() else ()
    before = {number: signal.signal(number, stop.now) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

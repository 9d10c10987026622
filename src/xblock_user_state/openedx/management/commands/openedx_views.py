"""``manage.py openedx_views``: read-only views under the names of the platform's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections
from django.utils.timezone import make_aware

from xblock_user_state.interface import UserStateError
from xblock_user_state.maintenance.naming import describe_owners
from xblock_user_state.management.base import ProgressCommand, blocks_of_context, interruptions
from xblock_user_state.openedx.decoded.copying import Copying
from xblock_user_state.openedx.numbers.arithmetic import MAX_BLOCK
from xblock_user_state.openedx.numbers.giving import give_missing, highest_number
from xblock_user_state.openedx.views import own
from xblock_user_state.openedx.views.sets import ViewSet
from xblock_user_state.openedx.views.statements import NotOurView, Place
from xblock_user_state.store.databases import state_database


class Command(ProgressCommand):
    """Creates, replaces or drops the views; can be run again at any time."""

    help = (
        "Creates read-only views under the names and with the columns of Open edX's tables, for analytics and reports: "
        "courseware_studentmodule and the three tables of fields; with --history also courseware_studentmodulehistory, "
        "over a decoded copy of the history that it makes or brings up to date. Replaces the views that it created "
        "before, and touches no other table."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("--drop", action="store_true", help="drop the views")
        parser.add_argument(
            "--prefix", default="", metavar="TEXT", help="begin the names with this, beside tables of the same names"
        )
        parser.add_argument(
            "--schema", metavar="NAME", help="create the views in this schema (MariaDB, MySQL: in this database)"
        )

        parser.add_argument(
            "--history", action="store_true", help="copy the history decoded, and create a view of the copy"
        )
        parser.add_argument("--course", metavar="KEY", help="copy the history of this course or library only")
        parser.add_argument("--since", metavar="TIME", help="copy entries from this time on, in ISO format")
        parser.add_argument("--until", metavar="TIME", help="copy entries before this time")

    def handle(self, *_: Any, **options: Any) -> None:
        """Create or drop the views, and name them."""
        database = state_database()
        connection = connections[database]
        if options["schema"] and connection.vendor == "sqlite":
            raise CommandError("SQLite has no schemas; use --prefix")
        views = ViewSet(connection, options["prefix"], options["schema"])
        with interruptions(str, NotOurView, UserStateError):
            if options["drop"]:
                self._name("dropped", views.drop())
                return
            copying = self._copying(database, options) if options["history"] else None
            self._number(database)
            own.create(connection)
            places = views.create(with_history=copying is not None)
            self._name("created", places)
            if copying is not None:
                self._copy(copying)
        self._advise(connection, places)

    def _copying(self, database: str, options: Mapping[str, Any]) -> Copying:
        blocks = blocks_of_context(database, options["course"]) if options["course"] else None
        return Copying(database, blocks, since=_time(options, "since"), until=_time(options, "until"))

    def _copy(self, copying: Copying) -> None:
        """Bring the copy up to date, and name the entries that can't be read."""
        copied = 0
        with self.progress("state rows") as progress:
            for page in copying.pages():
                copied += page.entries
                progress.advance(page.rows)
        if copying.block_ids is None:
            with self.progress("copies") as progress:
                for number in copying.remove_gone():
                    progress.advance(number)
        self.stdout.write(f"{copied:,} entries of the history were copied")
        names = describe_owners(copying.database, set(copying.damaged))
        for owner, revisions in copying.damaged.items():
            listed = ", ".join(map(str, sorted(revisions)))
            self.stdout.write(f"{names[owner]}: revisions that can't be read have no copy: {listed}")

    def _number(self, database: str) -> None:
        """Give numbers to blocks that were registered without the app, and tell how many are left."""
        with self.progress("blocks") as progress:
            given = 0
            for number in give_missing(database):
                given += number
                progress.advance(number)
        if given:
            self.stdout.write(f"{given:,} blocks got a number")
        highest = highest_number(database)
        if highest > MAX_BLOCK // 2:
            self.stdout.write(
                f"{highest:,} of {MAX_BLOCK:,} numbers of blocks are used; rows of later blocks have no id"
            )

    def _name(self, action: str, places: Sequence[Place]) -> None:
        for place in places:
            self.stdout.write(f"{action} {place}")

    def _advise(self, connection: Any, places: Sequence[Place]) -> None:
        if connection.vendor == "sqlite":
            return
        self.stdout.write("An account that may read nothing else reads them after:")
        for place in places:
            self.stdout.write(f"  GRANT SELECT ON {place.quoted(connection)} TO …;")


def _time(options: Mapping[str, Any], name: str) -> datetime | None:
    """Return the aware time of an option. Raises ``CommandError`` if it is none."""
    if options[name] is None:
        return None
    try:
        time = datetime.fromisoformat(options[name])
    except ValueError as error:
        raise CommandError(f"--{name} is {options[name]!r}, which is no time such as 2026-09-01T00:00+00:00") from error
    return make_aware(time) if time.tzinfo is None else time

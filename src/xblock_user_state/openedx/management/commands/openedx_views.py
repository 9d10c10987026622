"""``manage.py openedx_views``: read-only views under the names of the platform's tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections

from xblock_user_state.management.base import ProgressCommand, interruptions
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
        "courseware_studentmodule and the three tables of fields. Replaces the views that it created before, and "
        "touches no table."
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

    def handle(self, *_: Any, **options: Any) -> None:
        """Create or drop the views, and name them."""
        database = state_database()
        connection = connections[database]
        if options["schema"] and connection.vendor == "sqlite":
            raise CommandError("SQLite has no schemas; use --prefix")
        views = ViewSet(connection, options["prefix"], options["schema"])
        with interruptions(str, NotOurView):
            if options["drop"]:
                self._name("dropped", views.drop())
                return
            self._number(database)
            own.create(connection)
            places = views.create()
        self._name("created", places)
        self._advise(connection, places)

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

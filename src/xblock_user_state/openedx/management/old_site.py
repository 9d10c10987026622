"""Base of the commands that read the old tables."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser
from django.db import connections, models

from xblock_user_state.management.base import ProgressCommand
from xblock_user_state.openedx.old.reading import NotAnOldSite, OldSite, Selection
from xblock_user_state.store.dialects.rows import value_field
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.users import user_id


class OldSiteCommand(ProgressCommand):
    """A command that reads the old tables; it has the options that name and select them."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("--from", required=True, dest="source", metavar="ALIAS", help="database of the old tables")
        parser.add_argument(
            "--history-from", metavar="ALIAS", help="database of the old extended history, if it has one of its own"
        )
        parser.add_argument(
            "--course", metavar="KEY", help="only the rows of this course, and no learner's preferences"
        )
        parser.add_argument("--learner", metavar="NAME_OR_ID", help="only this learner")
        parser.add_argument("--range", metavar="A:B", help="only learners with ids from A to B; either may be empty")

    def site(self, options: dict[str, Any]) -> OldSite:
        """Return the old tables. Raises ``CommandError``."""
        key = value_field(StudentModule._meta.get_field("student"))
        if not isinstance(key, models.IntegerField):
            name = get_user_model()._meta.label
            raise CommandError(
                f"the old tables know users by integers; the keys of {name} are of the type {type(key).__name__}"
            )
        for alias in (options["source"], options["history_from"]):
            if alias is not None and alias not in connections:
                raise CommandError(f"DATABASES has no {alias!r}")
        try:
            return OldSite.open(options["source"], options["history_from"])
        except NotAnOldSite as error:
            raise CommandError(str(error)) from error

    def selection(self, options: dict[str, Any], site: OldSite) -> Selection:
        """Return the part of the old tables that the options select. Raises ``CommandError``.

        A course without rows is an error: a misspelt key must not pass as a course that is done.
        """
        if options["learner"] is not None and options["range"] is not None:
            raise CommandError("--learner and --range exclude each other")
        first, last = _range(options["range"])
        if options["learner"] is not None:
            first = last = _learner(options["learner"])
        course = options["course"]
        if course is not None and not site.count(Selection(course_id=course)):
            raise CommandError(f"the old tables have no row of the course {course!r}; is it spelt right?")
        return Selection(first, last, course)


def _range(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    first, colon, last = text.partition(":")
    if not (colon and all(part.isdecimal() or not part for part in (first, last))):
        raise CommandError(f"--range is {text!r}; it must be two ids with a colon between, such as 1:50000")
    if first and last and int(first) > int(last):
        raise CommandError(f"--range is {text!r}; its first id is above its last")
    return int(first) if first else None, int(last) if last else None


def _learner(text: str) -> int:
    found = user_id(text)
    if found is None and text.isdigit():
        found = int(text)
    if found is None:
        users = get_user_model()._meta.verbose_name_plural
        raise CommandError(f"none of the {users} is called {text!r}")
    return int(found)

"""Creates and drops views, and touches nothing else."""

from __future__ import annotations

from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper


class NotOurView(Exception):
    """There is a table, or somebody else's view, under the name of a view."""


class Place(NamedTuple):
    """The name of a view. The schema is that of the connection if none is given; it is a database on MariaDB, MySQL."""

    name: str
    schema: str | None = None

    def quoted(self, connection: BaseDatabaseWrapper) -> str:
        """Return the name for SQL."""
        return ".".join(connection.ops.quote_name(part) for part in (self.schema, self.name) if part)

    def __str__(self) -> str:
        return ".".join(part for part in (self.schema, self.name) if part)


# The text of a view, or NULL for a table.
_FIND = {
    "sqlite": "SELECT CASE type WHEN 'view' THEN sql END FROM sqlite_master WHERE %s IS NULL AND name = %s",
    "postgresql": (
        "SELECT CASE relation.relkind WHEN 'v' THEN pg_get_viewdef(relation.oid) END FROM pg_class relation "
        "JOIN pg_namespace namespace ON namespace.oid = relation.relnamespace "
        "WHERE namespace.nspname = COALESCE(%s, current_schema()) AND relation.relname = %s"
    ),
    "mysql": (
        "SELECT v.view_definition FROM information_schema.tables t LEFT JOIN information_schema.views v "
        "ON v.table_schema = t.table_schema AND v.table_name = t.table_name "
        "WHERE t.table_schema = COALESCE(%s, DATABASE()) AND t.table_name = %s"
    ),
}


def exists(connection: BaseDatabaseWrapper, place: Place) -> bool:
    """Tell whether there is such a view. Raises `NotOurView` if there is something else. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(_FIND[connection.vendor], [place.schema, place.name])
        found = cursor.fetchone()
    if found is None:
        return False
    # Every view of ours reads tables of ours.
    if found[0] is None or "xblock_user_state" not in found[0]:
        kind = "table" if found[0] is None else "view of somebody else"
        raise NotOurView(f"{place} is a {kind}, and stays; use --prefix or --schema, or rename it")
    return True


def create(connection: BaseDatabaseWrapper, place: Place, select: str) -> None:
    """Create a view, or replace its definition; it keeps the rights that were granted. Raises `NotOurView`."""
    replaces = exists(connection, place)
    name = place.quoted(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            if replaces:
                cursor.execute(f"DROP VIEW {name}")
            cursor.execute(f"CREATE VIEW {name} AS {select}")
            return
        # MERGE, or a warning: MySQL would fill a temporary table with all rows.
        algorithm = "ALGORITHM=MERGE " if connection.vendor == "mysql" else ""
        cursor.execute(f"CREATE OR REPLACE {algorithm}VIEW {name} AS {select}")


def drop(connection: BaseDatabaseWrapper, place: Place) -> bool:
    """Drop a view, if there is one; return whether there was. Raises `NotOurView`."""
    if not exists(connection, place):
        return False
    with connection.cursor() as cursor:
        cursor.execute(f"DROP VIEW {place.quoted(connection)}")
    return True

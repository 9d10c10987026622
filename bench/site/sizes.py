"""Bytes of tables and indexes, as the database itself reports them."""

from __future__ import annotations

from typing import NamedTuple

from django.db import connection
from django.db.backends.utils import CursorWrapper


class Size(NamedTuple):
    """Bytes. MariaDB stores a table in its primary key, which then counts as the table."""

    table: int
    indexes: int


class CannotMeasure(Exception):
    """The database does not report sizes; the message names the missing feature."""


def size_of(table: str) -> Size:
    """Return the bytes of a table of the default database, after a vacuum or an analyze."""
    with connection.cursor() as cursor:
        return _MEASURES[connection.vendor](cursor, table)


def parts_of(table: str) -> dict[str, int]:
    """Return the bytes of a table and of each of its indexes, by name, the table first. SQLite is not supported."""
    size = size_of(table)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index"
                " WHERE indrelid = %s::regclass ORDER BY 1",
                [table],
            )
        else:
            cursor.execute(
                "SELECT index_name, stat_value * @@innodb_page_size FROM mysql.innodb_index_stats WHERE"
                " database_name = DATABASE() AND table_name = %s AND stat_name = 'size' AND index_name <> 'PRIMARY'",
                [table],
            )
        return {table: size.table, **{name: int(found) for name, found in cursor.fetchall()}}


def database_version() -> str:
    """Return product and version, such as ``MariaDB 10.11.19``."""
    product = "MariaDB" if getattr(connection, "mysql_is_mariadb", False) else connection.display_name
    return f"{product} {'.'.join(map(str, connection.get_database_version()))}"


def _of_postgresql(cursor: CursorWrapper, table: str) -> Size:
    cursor.execute(f"VACUUM ANALYZE {table}")
    # pg_table_size includes values stored out of line (TOAST), the free space map and the visibility map.
    cursor.execute("SELECT pg_table_size(%s), pg_indexes_size(%s)", [table, table])
    return Size(*cursor.fetchone())


def _of_mariadb(cursor: CursorWrapper, table: str) -> Size:
    cursor.execute(f"ANALYZE TABLE {table}")
    cursor.fetchall()
    cursor.execute(
        "SELECT data_length, index_length FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name = %s",
        [table],
    )
    return Size(*cursor.fetchone())


def _of_sqlite(cursor: CursorWrapper, table: str) -> Size:
    cursor.execute("SELECT count(*) FROM pragma_module_list WHERE name = 'dbstat'")
    if cursor.fetchone() == (0,):
        raise CannotMeasure("this SQLite was built without dbstat, which reports the sizes of tables")
    cursor.execute(
        "SELECT sum(pgsize) FILTER (WHERE type = 'table'), coalesce(sum(pgsize) FILTER (WHERE type = 'index'), 0)"
        " FROM dbstat JOIN sqlite_schema USING (name) WHERE tbl_name = %s",
        [table],
    )
    return Size(*cursor.fetchone())


_MEASURES = {"postgresql": _of_postgresql, "mysql": _of_mariadb, "sqlite": _of_sqlite}

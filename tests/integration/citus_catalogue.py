"""A stand-in for the catalogue of Citus on stock PostgreSQL: a schema that is searched before PostgreSQL's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

_SCHEMA = """
    CREATE SCHEMA stand_in;
    SET search_path = stand_in, public, pg_catalog;
    CREATE TABLE pg_extension AS SELECT 'citus' AS extname;
    CREATE TABLE pg_dist_local_group AS SELECT 0 AS groupid;
    CREATE TABLE pg_dist_node AS
        SELECT number AS groupid, 'primary' AS noderole, true AS isactive, number > 0 AS shouldhaveshards
        FROM generate_series(0, 3) AS number;
    CREATE TABLE pg_dist_partition (
        logicalrelid regclass, partmethod "char", partkey text, colocationid int, repmodel "char"
    );
    CREATE TABLE setting AS SELECT 'logical' AS wal_level;
    CREATE FUNCTION current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT wal_level FROM setting';
    CREATE FUNCTION column_to_column_name(regclass, text) RETURNS text LANGUAGE sql AS 'SELECT $2';
    CREATE FUNCTION create_reference_table(text) RETURNS void LANGUAGE sql AS
        'INSERT INTO pg_dist_partition VALUES ($1::regclass, ''n'', NULL, 1, ''t'')';
    CREATE FUNCTION citus_add_local_table_to_metadata(text) RETURNS void LANGUAGE sql AS
        'INSERT INTO pg_dist_partition VALUES ($1::regclass, ''n'', NULL, 0, ''s'')';
    CREATE FUNCTION create_distributed_table_concurrently(text, text, colocate_with text)
    RETURNS void LANGUAGE sql AS $$
        DELETE FROM pg_dist_partition WHERE logicalrelid = $1::regclass;
        INSERT INTO pg_dist_partition SELECT $1::regclass, 'h', $2, CASE WHEN $3 = 'none' THEN 2 ELSE (
            SELECT colocationid FROM pg_dist_partition WHERE logicalrelid = $3::regclass
        ) END, 's'
    $$;
    CREATE FUNCTION truncate_local_data_after_distributing_table(name text) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE format('TRUNCATE %I', name); END $$;
"""


@contextmanager
def citus_catalogue() -> Iterator[None]:
    """Let this connection find the catalogue and the functions of a coordinator with three workers."""
    with connection.cursor() as cursor:
        cursor.execute(_SCHEMA)
    try:
        yield
    finally:
        execute("SET search_path = DEFAULT")
        execute("DROP SCHEMA stand_in CASCADE")


def execute(sql: str) -> None:
    """Execute a statement without parameters."""
    with connection.cursor() as cursor:
        cursor.execute(sql)


def catalogue() -> dict[str, tuple[Any, ...]]:
    """Return the method, the column and the group of each table, by name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT logicalrelid::text, partmethod::text, partkey, colocationid FROM pg_dist_partition")
        return {name: tuple(rest) for name, *rest in cursor.fetchall()}

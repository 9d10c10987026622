"""Columns, unique keys and indexes of the old tables, on MariaDB, PostgreSQL and SQLite.

They are as a site of 2025 has them. Ids that were widened in 2019 are unsigned 64-bit integers on MariaDB; the old
history's reference to a module never was, so it holds 32 bits. Constraints to `auth_user` are left out: the tables of
state lost theirs in 2019, and a test may delete users.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connections

MODULE = "courseware_studentmodule"
HISTORY = "courseware_studentmodulehistory"
EXTENDED_HISTORY = "coursewarehistoryextended_studentmodulehistoryextended"
PREFERENCES = "courseware_xmodulestudentprefsfield"
INFO = "courseware_xmodulestudentinfofield"
SUMMARY = "courseware_xmoduleuserstatesummaryfield"

MAIN = (MODULE, HISTORY, PREFERENCES, INFO, SUMMARY)
EXTENDED = (EXTENDED_HISTORY,)
ALL = (*MAIN, *EXTENDED)

_TYPES = {
    "mysql": {
        "big id": "bigint unsigned AUTO_INCREMENT NOT NULL PRIMARY KEY",
        "id": "integer AUTO_INCREMENT NOT NULL PRIMARY KEY",
        "big reference": "bigint unsigned NOT NULL",
        "text": "longtext",
        "filled text": "longtext NOT NULL",
        "float": "double precision",
        "time": "datetime(6) NOT NULL",
    },
    "postgresql": {
        "big id": "bigserial NOT NULL PRIMARY KEY",
        "id": "serial NOT NULL PRIMARY KEY",
        "big reference": "bigint NOT NULL",
        "text": "text",
        "filled text": "text NOT NULL",
        "float": "double precision",
        "time": "timestamp with time zone NOT NULL",
    },
    "sqlite": {
        "big id": "integer NOT NULL PRIMARY KEY AUTOINCREMENT",
        "id": "integer NOT NULL PRIMARY KEY AUTOINCREMENT",
        "big reference": "integer NOT NULL",
        "text": "text",
        "filled text": "text NOT NULL",
        "float": "real",
        "time": "datetime NOT NULL",
    },
}
# Keys compare without case on most MySQL sites.
_SUFFIX = {"mysql": " DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"}


@dataclass(frozen=True)
class _Table:
    columns: Sequence[tuple[str, str]]
    unique: Sequence[str] = ()
    indexes: Sequence[Sequence[str]] = ()


_HISTORY_COLUMNS = (
    ("version", "varchar(255) NULL"),
    ("created", "time"),
    ("state", "text"),
    ("grade", "float"),
    ("max_grade", "float"),
)
_FIELD_COLUMNS = (
    ("field_name", "varchar(64) NOT NULL"),
    ("value", "filled text"),
    ("created", "time"),
    ("modified", "time"),
)
_FIELD_INDEXES = (("field_name",), ("created",), ("modified",))

_TABLES = {
    MODULE: _Table(
        (
            ("id", "big id"),
            ("module_type", "varchar(32) NOT NULL"),
            ("module_id", "varchar(255) NOT NULL"),
            ("course_id", "varchar(255) NOT NULL"),
            ("state", "text"),
            ("grade", "float"),
            ("max_grade", "float"),
            ("done", "varchar(8) NOT NULL"),
            ("created", "time"),
            ("modified", "time"),
            ("student_id", "integer NOT NULL"),
        ),
        ("student_id", "module_id", "course_id"),
        (
            ("module_type",),
            ("course_id",),
            ("grade",),
            ("created",),
            ("modified",),
            ("student_id",),
            ("module_id", "grade", "student_id"),
        ),
    ),
    HISTORY: _Table(
        (("id", "id"), *_HISTORY_COLUMNS, ("student_module_id", "integer NOT NULL")),
        indexes=(("version",), ("created",), ("student_module_id",)),
    ),
    EXTENDED_HISTORY: _Table(
        (("id", "big id"), *_HISTORY_COLUMNS, ("student_module_id", "big reference")),
        indexes=(("version",), ("created",), ("student_module_id",)),
    ),
    PREFERENCES: _Table(
        (("id", "id"), *_FIELD_COLUMNS, ("module_type", "varchar(64) NOT NULL"), ("student_id", "integer NOT NULL")),
        ("student_id", "module_type", "field_name"),
        (*_FIELD_INDEXES, ("module_type",), ("student_id",)),
    ),
    INFO: _Table(
        (("id", "id"), *_FIELD_COLUMNS, ("student_id", "integer NOT NULL")),
        ("student_id", "field_name"),
        (*_FIELD_INDEXES, ("student_id",)),
    ),
    SUMMARY: _Table(
        (("id", "id"), *_FIELD_COLUMNS, ("usage_id", "varchar(255) NOT NULL")),
        ("usage_id", "field_name"),
        (*_FIELD_INDEXES, ("usage_id",)),
    ),
}


def create(alias: str, tables: Sequence[str] = ALL) -> None:
    """Create empty old tables. MariaDB commits an open transaction."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        for name in tables:
            for statement in _statements(connection.vendor, name, _TABLES[name]):
                cursor.execute(statement)


def drop(alias: str, tables: Sequence[str] = ALL) -> None:
    """Drop old tables, if they are there. MariaDB commits an open transaction."""
    with connections[alias].cursor() as cursor:
        for name in tables:
            cursor.execute(f"DROP TABLE IF EXISTS {name}")


@contextmanager
def old_tables(alias: str, tables: Sequence[str] = ALL) -> Iterator[None]:
    """Create empty old tables, and drop them at the end."""
    create(alias, tables)
    try:
        yield
    finally:
        drop(alias, tables)


def columns_of(table: str) -> list[str]:
    """Return the names of a table's columns, in their order."""
    return [name for name, _ in _TABLES[table].columns]


def _statements(vendor: str, name: str, table: _Table) -> Iterator[str]:
    types = _TYPES[vendor]
    columns = [f"{column} {types.get(kind, kind)}" for column, kind in table.columns]
    unique = [f"UNIQUE ({', '.join(table.unique)})"] if table.unique else []
    yield f"CREATE TABLE {name} ({', '.join([*columns, *unique])}){_SUFFIX.get(vendor, '')}"
    for number, indexed in enumerate(table.indexes):
        yield f"CREATE INDEX {name[-40:]}_{number} ON {name} ({', '.join(indexed)})"

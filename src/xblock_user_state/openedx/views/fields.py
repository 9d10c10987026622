"""Views of the tables that have a row for each field: preferences, information of learners, and shared state.

The database splits the JSON text of a row. A text that it can't parse appears once, whole, with ``field_name`` NULL:
NaN and infinities on every database, half of a surrogate pair on PostgreSQL and MariaDB, NUL on PostgreSQL. ``id`` is
NULL, because a field has no number. ``created`` and ``modified`` are those of all fields together.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.openedx.views.definitions import integer_type, value
from xblock_user_state.openedx.views.statements import Place
from xblock_user_state.store.models import Block, Preferences, UserInfo, UserStateRow, UserStateSummary

FUNCTION = "xblock_user_state_openedx_fields"

# PostgreSQL before 16 can't ask whether a text is JSON, so the function tries. PL/pgSQL is there by default.
_FUNCTION = """
CREATE OR REPLACE FUNCTION {name}(state text) RETURNS TABLE (field_name text, value text)
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN QUERY SELECT field.key, field.value::text FROM json_each(state::json) AS field;
EXCEPTION WHEN data_exception OR untranslatable_character THEN
    RETURN QUERY SELECT NULL::text, state;
END $$"""

# The FROM item of a row's fields, and the expressions of a field's name and value.
_SPLIT = {
    "postgresql": ("CROSS JOIN LATERAL {function}(stored.state) field", "field.field_name", "field.value"),
    "mysql": (
        # Inside IF, because JSON_KEYS of another value than an object is NULL, and JSON_TABLE refuses NULL.
        (
            "LEFT JOIN JSON_TABLE(IF(JSON_VALID(stored.state) AND JSON_TYPE(stored.state) = 'OBJECT', "
            "JSON_KEYS(stored.state), '[]'), '$[*]' COLUMNS "
            "(place FOR ORDINALITY, field_name varchar(255) PATH '$')) field ON TRUE"
        ),
        "field.field_name",
        # A path does not find a name that the text writes with an escape (findings/mariadb-json-path-escaped-name.sh).
        (
            "IF(field.field_name IS NULL, stored.state, "
            "COALESCE(JSON_EXTRACT(stored.state, CONCAT('$.', JSON_QUOTE(field.field_name))), "
            "JSON_EXTRACT(JSON_EXTRACT(stored.state, '$.*'), CONCAT('$[', field.place - 1, ']'))))"
        ),
    ),
    "sqlite": (
        (
            "LEFT JOIN json_each(CASE WHEN json_valid(stored.state) THEN "
            "CASE json_type(stored.state) WHEN 'object' THEN stored.state END END) field"
        ),
        "field.key",
        # The operator keeps the digits of large numbers, and does not find a name that has a quote.
        (
            "CASE WHEN field.key IS NULL THEN stored.state ELSE COALESCE(stored.state -> field.fullkey, "
            "CASE WHEN field.type IN ('true', 'false') THEN field.type ELSE json_quote(field.value) END) END"
        ),
    ),
}


@dataclass(frozen=True)
class FieldTable:
    """A table that has a row for each field: the model with the states, the last columns, and a join that they need."""

    model: type[UserStateRow]
    columns: str
    joined: str = ""

    def select(self, connection: BaseDatabaseWrapper, function: Place) -> str:
        """Return the definition of the view. On PostgreSQL it uses a `function`."""
        quote = connection.ops.quote_name
        split, name, text = _SPLIT[connection.vendor]
        joined = self.joined.format(block=quote(Block._meta.db_table))
        return (
            f"SELECT CAST(NULL AS {integer_type(connection)}) AS id, {name} AS field_name, {text} AS value, "
            f"{value(connection, 'stored.created', 'created')}, {value(connection, 'stored.modified', 'modified')}, "
            f"{self.columns} FROM {quote(self.model._meta.db_table)} stored {joined} "
            f"{split.format(function=function.quoted(connection))} "
            "WHERE stored.state IS NOT NULL AND stored.state <> '{}'"
        )


FIELD_TABLES = {
    "courseware_xmodulestudentprefsfield": FieldTable(
        Preferences, "stored.block_type AS module_type, stored.student_id"
    ),
    "courseware_xmodulestudentinfofield": FieldTable(UserInfo, "stored.student_id"),
    "courseware_xmoduleuserstatesummaryfield": FieldTable(
        UserStateSummary, "block.usage_key AS usage_id", "INNER JOIN {block} block ON block.id = stored.block_id"
    ),
}
"""The field tables by their old names."""


def can_split(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the database can split a state: SQLite has the operator from 3.38 on."""
    return connection.vendor != "sqlite" or sqlite3.sqlite_version_info >= (3, 38)


def create_function(connection: BaseDatabaseWrapper, place: Place) -> None:
    """Create the function that splits a state, or replace it. Does nothing where no view needs it."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(_FUNCTION.format(name=place.quoted(connection)))


def drop_function(connection: BaseDatabaseWrapper, place: Place) -> None:
    """Drop the function, if there is one."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP FUNCTION IF EXISTS {place.quoted(connection)}(text)")

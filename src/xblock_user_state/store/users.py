"""Looks up users by name and names by id. Never by a join: users may live in another database than state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections, models

from xblock_user_state.state.keys import is_storable
from xblock_user_state.store.databases import user_database
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import value_field
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import errors_translated

MAX_USERNAMES = 20_000
"""Names that an iteration caches at most. They take a few megabytes."""


def id_of(user: Any) -> Any:
    """Return the id of a user; ``None`` for one without an account."""
    # Not ``user.pk``: a row of a child of the users' table is a user too, and may have another key of its own.
    name = get_user_model()._meta.pk.attname
    return getattr(user, name) if hasattr(user, name) else user.pk


def user_id(username: str) -> Any:
    """Return the id of a user, or ``None``. One statement."""
    # MySQL's default collation finds Ann for ann, so the database's answer is compared again.
    return next(
        (id_ for id_, name in _named(username, "pk", get_user_model().USERNAME_FIELD) if name == username), None
    )


def account(username: str) -> Any:
    """Return the user of a name, active or not, or ``None``. One statement."""
    model, database = get_user_model(), user_database()
    attributes = [field.attname for field in model._meta.concrete_fields]
    users = (model.from_db(database, attributes, values) for values in _named(username, *attributes))
    return next((user for user in users if user.get_username() == username), None)


def _named(username: str, *attributes: str) -> Sequence[Sequence[Any]]:
    """Return these attributes of the users whose name equals `username` by the database's collation."""
    if not is_storable(username):
        return []
    model, database = get_user_model(), user_database()
    with errors_translated(database):
        if type(model._base_manager) is not models.Manager:
            # The host's own manager may filter by more than the name, now in this way and then in that.
            return list(_query_of(model, database, username, attributes))
        connection, (sql, converters) = connections[database], _compiled(model, database, attributes)
        name: Any = model._meta.get_field(model.USERNAME_FIELD)
        found = dialect_of(connection).fetch(connection, sql, [name.get_db_prep_value(username, connection)])
    return [_converted(row, converters, connection) for row in found] if converters else found


def _query_of(
    model: type[models.Model], database: str, username: str, attributes: Sequence[str]
) -> models.QuerySet[Any, Any]:
    users = model._base_manager.using(database).filter(**{model.USERNAME_FIELD: username})  # type: ignore[attr-defined]
    return users.values_list(*attributes)


class _Compiled(NamedTuple):
    sql: str
    converters: Mapping[int, Any]
    """Functions and their expression, by the column's number."""


@lru_cache(8)
def _compiled(model: type[models.Model], database: str, attributes: tuple[str, ...]) -> _Compiled:
    """Return the SQL of a query by name. The ORM takes three times as long to write it as the database to run it."""
    query = _query_of(model, database, "", attributes).query
    compiler = query.get_compiler(database)
    sql, _ = compiler.as_sql()
    return _Compiled(sql, compiler.get_converters([expression for expression, *_ in compiler.select]))


def _converted(row: Sequence[Any], converters: Mapping[int, Any], connection: Any) -> Sequence[Any]:
    values = list(row)
    for number, (steps, expression) in converters.items():
        for convert in steps:
            values[number] = convert(values[number], expression, connection)
    return values


def checked_id(given: object) -> Any:
    """Return a user's id with the type of the user model's key. Sends no statement.

    Raises ``ValueError`` for a value that this type does not read, or that is out of its range.
    """
    key = value_field(get_user_model()._meta.pk)
    try:
        # Python makes an integer of each of them.
        id_ = None if isinstance(given, bool | bytes | float | Decimal) else key.clean(given, None)
    except ValidationError as error:
        raise ValueError(f"{given!r} is not the id of a user: {' '.join(error.messages)}") from error
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{given!r} is not the id of a user: {error}") from error
    if id_ is None or (isinstance(id_, str) and not is_storable(id_)):
        raise ValueError(
            f"{given!r} ({type(given).__name__}) is not the id of a user: it can't be a {type(key).__name__}"
        )
    return id_


class Usernames:
    """A cache of names for one iteration. Learners come again with every block of a course."""

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}

    def of(self, user_ids: Collection[Any]) -> Mapping[Any, str]:
        """Return the names of all given users that exist, and maybe of others. At most one statement for 10,000."""
        unknown = [id_ for id_ in user_ids if id_ not in self._names]
        if len(self._names) + len(unknown) > MAX_USERNAMES:
            self._names, unknown = {}, list(user_ids)
        if unknown:
            self._names |= usernames(unknown)
        return self._names


def usernames(user_ids: Collection[Any]) -> dict[Any, str]:
    """Return the names of the users that exist. One statement for 10,000."""
    model = get_user_model()
    database = user_database()
    users = model._base_manager.using(database)
    with errors_translated(database):
        return {
            id_: name
            for ids in pieces(database, list(user_ids))
            for id_, name in users.filter(pk__in=ids).values_list("pk", model.USERNAME_FIELD)
        }

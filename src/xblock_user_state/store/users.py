"""Looks up users by name and names by id. Never by a join: users may live in another database than state."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from xblock_user_state.state.keys import is_storable
from xblock_user_state.store.databases import user_database
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
    model = get_user_model()
    database = user_database()
    users = model._base_manager.using(database).filter(**{model.USERNAME_FIELD: username})
    with errors_translated(database):
        found = list(users.values_list("pk", model.USERNAME_FIELD))
    # MySQL's default collation finds Ann for ann, so the database's answer is compared again.
    return next((id_ for id_, name in found if name == username), None)


def checked_id(given: object) -> Any:
    """Return a user's id with the type of the user model's key. Sends no statement.

    Raises ``ValueError`` for a value that this type does not read, or that is out of its range.
    """
    key = value_field(get_user_model()._meta.pk)
    try:
        # Python makes an integer of each of them.
        id_ = None if isinstance(given, bool | bytes | float | Decimal) else key.clean(given, None)
    except (ValidationError, TypeError, OverflowError) as error:
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

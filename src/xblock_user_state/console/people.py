"""Users as the console shows them: by name, in pages, and one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import Model, Q, QuerySet
from django.http import Http404
from django.utils.translation import gettext as _

from xblock_user_state.state.keys import is_storable
from xblock_user_state.store import users
from xblock_user_state.store.databases import user_database
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import errors_translated

NAMED = 10
"""Unknown usernames that an error names."""


class Person(NamedTuple):
    """A user of the host."""

    id: Any
    username: str
    name: str
    """The full name; the username if the user model has none."""


def find(username: str) -> Person:
    """Return a user. Raises ``Http404`` if there is none. One statement."""
    if not is_storable(username):
        raise Http404
    found = _people(_users().filter(**{get_user_model().USERNAME_FIELD: username}))
    # MySQL's default collation finds Ann for ann.
    person = next((person for person in found if person.username == username), None)
    if person is None:
        raise Http404
    return person


def page(words: Collection[str], after: str, count: int) -> list[Person]:
    """Return up to `count` users in the order of their names, from the one that follows `after`. One statement.

    Each of the `words` is in the username, a name or the e-mail address.
    """
    name = get_user_model().USERNAME_FIELD
    rows = _users().order_by(name)
    for word in words:
        rows = rows.filter(_has(word))
    if after:
        rows = rows.filter(**{f"{name}__gt": after})
    return _people(rows[:count])


def names_of(user_ids: Collection[Any]) -> dict[Any, str]:
    """Return the usernames of users that exist. One statement; none without ids."""
    return users.usernames(user_ids) if user_ids else {}


def of_ids(user_ids: Collection[Any]) -> dict[Any, Person]:
    """Return the users that exist, by their ids. One statement for 10,000; none without ids."""
    database = user_database()
    found = (_people(_users().filter(pk__in=some)) for some in pieces(database, list(user_ids)))
    return {person.id: person for some in found for person in some}


def ids_of(usernames: Sequence[str]) -> dict[str, Any]:
    """Return the ids of the users that exist, by their names. One statement for 10,000 names."""
    name = get_user_model().USERNAME_FIELD
    wanted = set(filter(is_storable, usernames))
    found: dict[str, Any] = {}
    with errors_translated(user_database()):
        for some in pieces(user_database(), sorted(wanted)):
            rows = _users().filter(**{f"{name}__in": some}).values_list(name, "pk")
            # MySQL's default collation finds Ann for ann.
            found |= {username: id_ for username, id_ in rows if username in wanted}
    return found


def unknown(usernames: Sequence[str]) -> str:
    """Return the error for usernames that nobody has."""
    names = ", ".join(f"“{name}”" for name in usernames[:NAMED])
    if len(usernames) > NAMED:
        names = _("%(names)s and %(number)s more") % {"names": names, "number": len(usernames) - NAMED}
    text = _("There is no user %(names)s. Give usernames, such as “ines”, and not full names.")
    return text % {"names": names}


def _users() -> QuerySet[Any]:
    return get_user_model()._base_manager.using(user_database())


def _people(rows: QuerySet[Any]) -> list[Person]:
    with errors_translated(user_database()):
        return [Person(users.id_of(user), user.get_username(), _name_of(user)) for user in rows]


def _name_of(user: Any) -> str:
    # A base class of users has no names.
    full_name = user.get_full_name().strip() if hasattr(user, "get_full_name") else ""
    return full_name or str(user.get_username())


def _has(word: str) -> Q:
    model = get_user_model()
    email = getattr(model, "EMAIL_FIELD", None)
    condition = Q()
    for name in dict.fromkeys((model.USERNAME_FIELD, "first_name", "last_name", email)):
        if name and _has_column(model, name):
            condition |= Q(**{f"{name}__icontains": word})
    return condition


def _has_column(model: type[Model], name: str) -> bool:
    return any(field.name == name for field in model._meta.concrete_fields)

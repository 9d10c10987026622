"""``DATABASES`` with the credentials for migrations, for settings modules. Reads no settings, and imports no models.

The site's account reads and writes rows; migrations create and alter tables. Sites with two accounts have a settings
module for migrations, which takes the second account from the environment::

    from mysite.settings import *
    from xblock_user_state.migrate_settings import databases_for_migrations

    DATABASES = databases_for_migrations(DATABASES)

For each alias the variable ``DB_MIGRATION_<ALIAS>_<PART>`` comes first, then ``DB_MIGRATION_<PART>``, then
``DATABASES``. The parts are ``USER``, ``PASS``, ``HOST``, ``PORT`` and ``NAME``. The password must be a variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

__all__ = ["databases_for_migrations"]

Databases = Mapping[str, Mapping[str, Any]]

_PREFIX = "DB_MIGRATION"
_PARTS = {"USER": "USER", "PASS": "PASSWORD", "HOST": "HOST", "PORT": "PORT", "NAME": "NAME"}
# SQLite has files and no accounts.
_WITHOUT_ACCOUNT = "sqlite3"


def databases_for_migrations(
    databases: Databases, environment: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return ``DATABASES`` with the accounts for migrations, and without timeouts of statements.

    SQLite databases stay unchanged. Raises ``ImproperlyConfigured`` with the names of all variables that are missing or
    wrong, or that would make two aliases the same database.
    """
    variables = os.environ if environment is None else environment
    changed = {alias: _for_migrations(alias, dict(database), variables) for alias, database in databases.items()}
    problems = [*_problems(changed, variables), *_collisions(databases, changed)]
    if problems:
        raise ImproperlyConfigured("migrations can't run with these settings: " + "; ".join(problems))
    return changed


def _for_migrations(alias: str, database: dict[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    if not _has_account(database):
        return database
    found = {setting: _variable(alias, part, variables) for part, setting in _PARTS.items()}
    database.update({setting: value for setting, value in found.items() if value is not None})
    return {**database, "OPTIONS": _unbounded(database.get("OPTIONS", {}))}


def _has_account(database: Mapping[str, Any]) -> bool:
    return not str(database.get("ENGINE", "")).endswith(_WITHOUT_ACCOUNT)


def _variable(alias: str, part: str, variables: Mapping[str, str]) -> str | None:
    return variables.get(_name(part, alias), variables.get(_name(part)))


def _name(part: str, alias: str | None = None) -> str:
    """Return the name of a variable for one alias, or for all aliases."""
    # An alias may have characters that variables can't have.
    middle = "" if alias is None else "_" + re.sub(r"\W", "_", alias).upper()
    return f"{_PREFIX}{middle}_{part}"


def _unbounded(options: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the timeouts of statements: building an index may take hours."""
    kept = {name: value for name, value in options.items() if name not in ("read_timeout", "write_timeout")}
    if "statement_timeout" in str(kept.get("options")):
        kept["options"] = f"{kept['options']} -c statement_timeout=0"
    return kept


def _problems(databases: Databases, variables: Mapping[str, str]) -> Iterator[str]:
    for alias, database in databases.items():
        if not _has_account(database):
            continue
        if _variable(alias, "PASS", variables) is None:
            yield f"the password for {alias!r} is missing, set {_either('PASS', alias)}"
        if not database.get("USER"):
            yield f"the user for {alias!r} is missing, set {_either('USER', alias)}"
        port = _variable(alias, "PORT", variables)
        if port and not port.isdecimal():
            yield f"the port for {alias!r} is not a number but {port!r}, see {_either('PORT', alias)}"


def _either(part: str, alias: str) -> str:
    return f"{_name(part)} or {_name(part, alias)}"


def _collisions(before: Databases, after: Databases) -> Iterator[str]:
    """Find aliases of separate databases that became the same database, by a variable meant for one of them."""
    seen: dict[tuple[str, ...], str] = {}
    for alias in after:
        first = seen.setdefault(_place(after[alias]), alias)
        if first != alias and _place(before[first]) != _place(before[alias]):
            yield (
                f"{first!r} and {alias!r} would be the same database, {after[alias].get('NAME')!r}; set "
                f"{_name('NAME', alias)}, or {_name('HOST', alias)} and {_name('PORT', alias)}"
            )


def _place(database: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(database.get(part) or "") for part in ("ENGINE", "HOST", "PORT", "NAME"))

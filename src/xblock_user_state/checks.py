"""System checks: what would lose data or fail at run time is told at start-up, with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import connections

from xblock_user_state import conf
from xblock_user_state.store.tables import state_database


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_settings)
    checks.register(check_time_zone)
    checks.register(check_sqlite)


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """The setting is a dict of settings that exist, with values of the right type."""
    found = conf.configured()
    if not isinstance(found, Mapping):
        return [checks.Error("XBLOCK_USER_STATE must be a dict.", id="xblock_user_state.E001")]
    problems: list[checks.CheckMessage] = [
        checks.Warning(
            f"XBLOCK_USER_STATE has an unknown setting, {name!r}.",
            hint=f"Known settings are {', '.join(sorted(conf.DEFAULTS))}.",
            id="xblock_user_state.W001",
        )
        for name in found
        if name not in conf.DEFAULTS
    ]
    return problems + _check_recorded_block_types()


def _check_recorded_block_types() -> list[checks.CheckMessage]:
    recorded: object = conf.recorded_block_types()
    is_list = isinstance(recorded, list | tuple | set | frozenset) and all(isinstance(item, str) for item in recorded)
    if recorded == "*" or is_list:
        return []
    return [
        checks.Error(
            f'XBLOCK_USER_STATE["RECORDED_BLOCK_TYPES"] must be a list of block types or "*", not {recorded!r}.',
            id="xblock_user_state.E002",
        )
    ]


def check_time_zone(**_: Any) -> list[checks.CheckMessage]:
    """Times are stored in UTC, which Django does only with time zone support."""
    if settings.USE_TZ:
        return []
    return [
        checks.Error(
            "xblock_user_state stores times in UTC and needs time zone support.",
            hint="Set USE_TZ = True.",
            id="xblock_user_state.E003",
        )
    ]


def check_sqlite(**_: Any) -> list[checks.CheckMessage]:
    """SQLite is set up for several requests at once.

    A transaction that begins with a read can't wait for another writer: it fails with "database is locked" at
    once.
    """
    alias = state_database()
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return []
    name = str(connection.settings_dict["NAME"])
    is_in_memory = name == ":memory:" or "mode=memory" in name
    options = connection.settings_dict.get("OPTIONS", {})
    problems: list[checks.CheckMessage] = []
    if str(options.get("transaction_mode", "")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        problems.append(
            checks.Warning(
                f'SQLite ({alias}) begins transactions with a read lock: requests at the same time fail as "locked".',
                hint=f"DATABASES[{alias!r}]['OPTIONS']['transaction_mode'] = 'IMMEDIATE'",
                id="xblock_user_state.W002",
            )
        )
    if not is_in_memory and "journal_mode=wal" not in _compact(options.get("init_command", "")):
        problems.append(
            checks.Warning(
                f"SQLite ({alias}) is not in WAL mode: readers and the writer block each other.",
                hint=f"DATABASES[{alias!r}]['OPTIONS']['init_command'] = 'PRAGMA journal_mode=WAL;'",
                id="xblock_user_state.W003",
            )
        )
    return problems


def _compact(sql: str) -> str:
    return sql.replace(" ", "").lower()

"""Messages of the system checks at start-up."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.core import checks as django_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, connection, connections
from django.test import override_settings

from xblock_user_state import checks
from xblock_user_state.checks import (
    check_drivers,
    check_settings,
    check_sqlite,
    check_time_zone,
    check_time_zones_of_databases,
)
from xblock_user_state.store.dialects import Failure
from xblock_user_state.store.dialects.postgresql import PostgreSQL

RIGHT: list[Any] = [
    {},
    {"RECORDED_BLOCK_TYPES": ["problem"]},
    {"RECORDED_BLOCK_TYPES": ("problem", "video")},
    {"RECORDED_BLOCK_TYPES": {"problem"}},
    {"RECORDED_BLOCK_TYPES": frozenset()},
    {"RECORDED_BLOCK_TYPES": []},
    {"RECORDED_BLOCK_TYPES": "*"},
    {"RECORDED_BLOCK_TYPES": ["*"]},
]
WRONG: list[tuple[Any, str, str]] = [
    (None, "E001", "dict"),
    ([], "E001", "dict"),
    ("RECORDED_BLOCK_TYPES", "E001", "dict"),
    ({"RECORDED_BLOCK_TYPES": "problem"}, "E002", "'problem'"),
    ({"RECORDED_BLOCK_TYPES": None}, "E002", "None"),
    ({"RECORDED_BLOCK_TYPES": 5}, "E002", "5"),
    ({"RECORDED_BLOCK_TYPES": ["problem", None]}, "E002", "None"),
    ({"RECORDED_BLOCK_TYPES": {"problem": True}}, "E002", "problem"),
    ({"RECORDED_BLOCKTYPES": ["problem"]}, "W001", "RECORDED_BLOCKTYPES"),
    ({"recorded_block_types": "*"}, "W001", "recorded_block_types"),
    ({5: "*"}, "W001", "5"),
]


def ids(found: list[django_checks.CheckMessage]) -> list[str]:
    return [str(message.id).rpartition(".")[2] for message in found]


@pytest.mark.parametrize("value", RIGHT, ids=repr)
def test_right_settings_pass(value: Any) -> None:
    with override_settings(XBLOCK_USER_STATE=value):
        assert check_settings() == []


@pytest.mark.parametrize(("value", "id_", "named"), WRONG, ids=lambda value: repr(value)[:40])
def test_wrong_settings_are_named(value: Any, id_: str, named: str) -> None:
    with override_settings(XBLOCK_USER_STATE=value):
        [message] = check_settings()
    assert message.id == f"xblock_user_state.{id_}"
    assert named in message.msg
    assert isinstance(message, django_checks.Error if id_.startswith("E") else django_checks.Warning)
    if id_ == "W001":
        assert "RECORDED_BLOCK_TYPES" in str(message.hint)


def test_each_wrong_setting_has_a_message() -> None:
    with override_settings(XBLOCK_USER_STATE={"A": 1, "B": 2, "RECORDED_BLOCK_TYPES": 3}):
        assert sorted(ids(check_settings())) == ["E002", "W001", "W001"]


def test_without_the_setting_there_is_nothing_to_check(settings: Any) -> None:
    if hasattr(settings, "XBLOCK_USER_STATE"):
        del settings.XBLOCK_USER_STATE
    assert check_settings() == []


def test_times_need_time_zone_support() -> None:
    assert check_time_zone() == []
    with override_settings(USE_TZ=False):
        [message] = check_time_zone()
    assert message.id == "xblock_user_state.E003"
    assert "USE_TZ = True" in str(message.hint)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="for servers")
def test_a_server_needs_no_settings_of_sqlite() -> None:
    assert check_sqlite() == []


def test_a_database_in_another_time_zone_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_time_zones_of_databases() == []
    monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", "America/New_York")
    _forget_time_zone()
    [message] = check_time_zones_of_databases()
    monkeypatch.undo()
    _forget_time_zone()
    assert message.id == "xblock_user_state.W005"
    assert "America/New_York" in message.msg


def _forget_time_zone() -> None:
    for name in ("timezone", "timezone_name"):
        vars(connections["default"]).pop(name, None)


@pytest.mark.parametrize(
    ("vendor", "driver", "expected"),
    [
        ("postgresql", "psycopg", []),
        ("postgresql", "psycopg2", ["E010"]),
        ("mysql", "MySQLdb", []),
        ("mysql", "pymysql", ["E011"]),
        ("sqlite", "pysqlite3", []),
    ],
)
def test_another_driver_is_an_error(
    monkeypatch: pytest.MonkeyPatch, vendor: str, driver: str, expected: list[str]
) -> None:
    """PyMySQL passes for MySQLdb in the import, but not in the name of its module."""
    other = SimpleNamespace(vendor=vendor, Database=ModuleType(driver))
    monkeypatch.setattr(checks, "connections", dict.fromkeys(connections, other))
    found = check_drivers()
    assert {*ids(found)} == {*expected}
    assert all(isinstance(message, django_checks.Error) and message.hint and driver in message.msg for message in found)


@pytest.mark.parametrize("name", ["sqlstate", "pgcode"])
def test_errors_of_both_drivers_of_postgresql_are_known(name: str) -> None:
    codes = {"23505": Failure.DUPLICATE, "40P01": Failure.CONFLICT, "57P01": Failure.UNAVAILABLE, "42601": None}
    for code, failure in codes.items():
        error = DatabaseError("raised by the test")
        error.__cause__ = Exception()
        setattr(error.__cause__, name, code)
        assert PostgreSQL().failure(error) is failure


OPTIONS: list[tuple[dict[str, str], list[str]]] = [
    ({}, ["W002", "W003"]),
    ({"transaction_mode": "DEFERRED", "init_command": "PRAGMA synchronous=NORMAL;"}, ["W002", "W003"]),
    ({"transaction_mode": "IMMEDIATE"}, ["W003"]),
    ({"init_command": "PRAGMA journal_mode=WAL;"}, ["W002"]),
    ({"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"}, []),
    ({"transaction_mode": "immediate", "init_command": "PRAGMA synchronous=1; pragma journal_mode = wal"}, []),
    ({"transaction_mode": "EXCLUSIVE", "init_command": "PRAGMA main.journal_mode=WAL"}, []),
]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="for SQLite")
@pytest.mark.parametrize(("options", "expected"), OPTIONS, ids=repr)
def test_sqlite_is_set_up_for_several_requests(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str], expected: list[str]
) -> None:
    monkeypatch.setitem(connection.settings_dict, "NAME", "a file.sqlite3")
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    found = [message for message in check_sqlite() if "(default)" in message.msg]
    assert ids(found) == expected
    assert all("DATABASES['default']['OPTIONS']" in str(message.hint) for message in found)
    assert all(isinstance(message, django_checks.Warning) for message in found)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="for SQLite")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/srv/state.sqlite3", ["W003"]),
        ("/srv/in-memory-of-ann/state.sqlite3", ["W003"]),
        (":memory:", []),
        ("file:memorydb_default?mode=memory&cache=shared", []),
    ],
)
def test_a_database_in_memory_needs_no_write_ahead_log(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: list[str]
) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"transaction_mode": "IMMEDIATE"})
    monkeypatch.setitem(connection.settings_dict, "NAME", name)
    assert ids(check_sqlite()) == expected


def test_the_settings_of_the_tests_pass_all_checks() -> None:
    assert django_checks.run_checks() == []


@override_settings(XBLOCK_USER_STATE={"UNKNOWN": 1}, USE_TZ=False)
def test_the_checks_run_with_djangos() -> None:
    found = ids(django_checks.run_checks())
    assert "W001" in found
    assert "E003" in found


def test_the_tag_selects_these_checks() -> None:
    assert checks.TAG in django_checks.registry.registry.tags_available()
    with override_settings(XBLOCK_USER_STATE=[], USE_TZ=False):
        assert {"E001", "E003"} <= {*ids(django_checks.run_checks(tags=[checks.TAG]))}
    with override_settings(XBLOCK_USER_STATE=[]), pytest.raises(SystemCheckError, match="E001"):
        call_command("check", tags=[checks.TAG])


@pytest.mark.parametrize(
    ("alias", "problem"),
    [
        ("replica", "DATABASES has no such alias"),
        ("default", "that is the database of learner state itself"),
        (["default"], "must be the alias of a database, or None"),
    ],
    ids=repr,
)
def test_a_replica_is_another_database(alias: object, problem: str) -> None:
    with override_settings(XBLOCK_USER_STATE={"REPLICA": alias}):
        [message] = [found for found in checks.check_all() if "REPLICA" in found.msg]
    assert problem in message.msg
    assert message.id == f"xblock_user_state.{'E004' if 'must be' in problem else 'E015'}"

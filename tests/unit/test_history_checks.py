"""Messages of the system checks about the extended history and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import connections
from pytest_django import Settings

from xblock_user_state.conf import EXTENDED_HISTORY_APP

ROUTER = "xblock_user_state.extended_history.router.StudentModuleHistoryExtendedRouter"
POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "history", "HOST": "history.example"}
MYSQL = {"ENGINE": "django.db.backends.mysql", "NAME": "history", "HOST": "history.example"}
SQLITE_OPTIONS = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"}
SQLITE: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": "history.sqlite3", "OPTIONS": SQLITE_OPTIONS}
ALIAS = "history_of_the_host"
NAMED = {"HISTORY_DATABASE": ALIAS}
ON = {**NAMED, "EXTENDED_HISTORY": True}


class EverythingElsewhere:
    """A router that sends everything to the default database."""

    def db_for_read(self, *_: Any, **__: Any) -> str:
        return "default"

    db_for_write = db_for_read


class ReadsElsewhere:
    """A router that routes reads only."""

    def db_for_read(self, *_: Any, **__: Any) -> str:
        return "default"


class ToTheHistory:
    """A router that sends learner state to the history's database."""

    def db_for_write(self, *_: Any, **__: Any) -> str:
        return ALIAS


class EverythingEverywhere:
    """A router that allows every migration on every database."""

    def allow_migrate(self, *_: Any, **__: Any) -> bool:
        return True


class DecidesByModel:
    """A router that decides by model, as the replaced system's does."""

    def allow_migrate(self, db: str, _label: str, model_name: str | None = None, **_: Any) -> bool | None:
        is_history = model_name == "studentmodulehistoryextended"
        return db == ALIAS if is_history else (False if db == ALIAS else None)


class Host:
    """The settings of a host whose checks run, without any connection to a database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._aliases: list[str] = []

    def set(self, **settings: Any) -> None:
        self._settings.XBLOCK_USER_STATE = settings

    def add_database(self, alias: str = ALIAS, **database: Any) -> None:
        self._settings.DATABASES[alias] = database
        connections.configure_settings(self._settings.DATABASES)
        self._aliases.append(alias)

    def remove_databases(self) -> None:
        for alias in self._aliases:
            del self._settings.DATABASES[alias]
            # Absent if the test never used the connection.
            with suppress(AttributeError):
                del connections[alias]

    def install(self, *routers: Any) -> None:
        self._settings.INSTALLED_APPS = [*self._settings.INSTALLED_APPS, EXTENDED_HISTORY_APP]
        self._settings.DATABASE_ROUTERS = list(routers or (ROUTER,))

    def add_extended_history(self, **database: Any) -> None:
        self.add_database(**(database or SQLITE))
        self.install()
        self.set(**ON)

    def messages(self) -> dict[str, CheckMessage]:
        # Without databases: since Django 6.1 its checks ask every database for its features, and so connect to it.
        every = run_checks(databases=[])
        ours = [message for message in every if str(message.id).startswith("xblock_user_state.")]
        found = {str(message.id).removeprefix("xblock_user_state."): message for message in ours}
        assert len(found) == len(ours)
        return found


@pytest.fixture
def host(settings: Settings) -> Iterator[Host]:
    """A host without an extended history, also in runs with two databases."""
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != EXTENDED_HISTORY_APP]
    settings.DATABASE_ROUTERS = []
    settings.FEATURES = {}
    made = Host(settings)
    made.set()
    yield made
    made.remove_databases()


def only_message(host: Host) -> str:
    """Return the text of the only message."""
    [message] = host.messages().values()
    assert message.hint
    return message.msg


def test_a_host_without_a_second_database_needs_no_router_and_no_app(host: Host) -> None:
    assert not host.messages()


def test_a_host_with_an_extended_history_is_told_nothing(host: Host) -> None:
    host.add_extended_history()
    assert not host.messages()


@pytest.mark.parametrize(
    "flags", [{"EXTENDED_HISTORY": extended, "READ_MULTIPLE_HISTORIES": both} for extended in (0, 1) for both in (0, 1)]
)
def test_every_combination_of_the_flags_is_fine(host: Host, flags: dict[str, int]) -> None:
    host.add_extended_history()
    host.set(**NAMED, **{name: bool(value) for name, value in flags.items()})
    assert not host.messages()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXTENDED_HISTORY", "false"),
        ("EXTENDED_HISTORY", None),
        ("READ_MULTIPLE_HISTORIES", 1),
        ("HISTORY_ENCODING", "zstd"),
        ("HISTORY_ENCODING", None),
        ("SHIP_HISTORY", "later"),
        ("SHIP_HISTORY", True),
        ("SHIP_HISTORY", ["at_once"]),
        ("HISTORY_TIMEOUT", 0),
        ("HISTORY_TIMEOUT", -1),
        ("HISTORY_TIMEOUT", "5"),
        ("HISTORY_TIMEOUT", None),
        ("HISTORY_TIMEOUT", True),
        ("HISTORY_TIMEOUT", float("inf")),
        ("HISTORY_DATABASE", ""),
        ("HISTORY_DATABASE", None),
    ],
)
def test_values_that_mean_nothing(host: Host, name: str, value: Any) -> None:
    host.set(**{name: value})
    messages = host.messages()
    # An invalid flag or alias may cause further messages.
    assert f'XBLOCK_USER_STATE["{name}"] must be' in messages["E004"].msg
    assert f"not {value!r}" in messages["E004"].msg
    assert messages["E004"].hint
    assert messages.keys() <= {"E004", "E005", "E006"}


def test_a_flag_of_the_old_name_must_be_true_or_false(host: Host, settings: Settings) -> None:
    settings.FEATURES = {"ENABLE_READING_FROM_MULTIPLE_HISTORY_TABLES": "no"}
    assert only_message(host).startswith(
        'FEATURES["ENABLE_READING_FROM_MULTIPLE_HISTORY_TABLES"] must be True or False'
    )


class TestIncompleteExtendedHistory:
    """The extended history is on, but its app, its database or both are missing."""

    def test_neither_app_nor_database(self, host: Host) -> None:
        host.set(**ON)
        assert host.messages().keys() == {"E005", "E006"}

    def test_there_is_a_database_and_no_app(self, host: Host) -> None:
        host.add_database(**SQLITE)
        host.set(**ON)
        assert "Nobody could read new history entries" in only_message(host)
        assert host.messages().keys() == {"E005"}

    def test_there_is_an_app_and_no_database(self, host: Host) -> None:
        host.install()
        host.set(**ON)
        assert f"DATABASES has no {ALIAS!r}" in only_message(host)
        assert host.messages().keys() == {"E006"}

    def test_it_was_turned_on_by_its_old_name(self, host: Host, settings: Settings) -> None:
        settings.FEATURES = {"ENABLE_CSMH_EXTENDED": True}
        host.set(**NAMED)
        assert 'FEATURES["ENABLE_CSMH_EXTENDED"] is on' in host.messages()["E005"].msg
        assert 'set XBLOCK_USER_STATE["EXTENDED_HISTORY"] to False' in str(host.messages()["E005"].hint)

    def test_the_old_name_is_overruled(self, host: Host, settings: Settings) -> None:
        settings.FEATURES = {"ENABLE_CSMH_EXTENDED": True}
        host.set(**NAMED, EXTENDED_HISTORY=False)
        assert not host.messages()

    def test_what_was_written_before_it_was_turned_off_can_not_be_read(self, host: Host) -> None:
        host.install()
        host.set(**NAMED)
        assert host.messages().keys() == {"E006"}


@pytest.mark.parametrize("is_on", [True, False])
def test_the_alias_of_the_default_database(host: Host, is_on: bool) -> None:
    host.install()
    host.set(HISTORY_DATABASE="default", EXTENDED_HISTORY=is_on)
    assert "'default', is the same as 'default'" in host.messages()["E007"].msg


def test_the_alias_of_the_learner_state(host: Host) -> None:
    host.add_database(**SQLITE)
    host.install(ToTheHistory())
    host.set(**ON)
    assert f"{ALIAS!r}, is the same as {ALIAS!r}" in only_message(host)


def test_another_alias_of_the_default_database(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    default = connections["default"].settings_dict
    monkeypatch.setitem(default, "NAME", "state.sqlite3")
    host.add_extended_history(**default)
    assert "is the same as 'default'" in host.messages()["E007"].msg


@pytest.mark.parametrize("name", [":memory:", "file:state?mode=memory"])
def test_databases_in_memory_are_apart_but_for_named_ones(
    host: Host, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    default = connections["default"].settings_dict
    monkeypatch.setitem(default, "NAME", name)
    host.add_extended_history(**default)
    assert ("E007" in host.messages()) == ("file:" in name)


def test_another_alias_of_the_database_of_the_learner_state(host: Host) -> None:
    class StateElsewhere:
        def db_for_write(self, model: Any, **_: Any) -> str | None:
            return "state_of_the_host" if model._meta.app_label == "xblock_user_state" else None

    host.add_database("state_of_the_host", **SQLITE)
    host.add_database(**SQLITE)
    host.install(ROUTER, StateElsewhere())
    host.set(**ON)
    assert "is the same as 'state_of_the_host'" in only_message(host)
    assert host.messages().keys() == {"E007"}


@pytest.mark.parametrize(
    ("routers", "answers"),
    [
        ([object()], ["written to 'default'", "read from 'default'", "run in 'default'", "of auth, "]),
        ([EverythingElsewhere(), ROUTER], ["written to 'default'", "read from 'default'"]),
        ([ReadsElsewhere(), ROUTER], ["read from 'default'"]),
        ([EverythingEverywhere(), ROUTER], ["its migrations run in 'default'", "xblock_user_state_openedx run in"]),
        ([DecidesByModel(), ROUTER], [f"its migrations do not run in {ALIAS!r}"]),
    ],
)
def test_routers_that_keep_the_history_elsewhere(host: Host, routers: list[Any], answers: list[str]) -> None:
    host.add_database(**SQLITE)
    host.install(*routers)
    host.set(**ON)
    message = only_message(host)
    assert [answer for answer in answers if answer not in message] == []
    assert host.messages().keys() == {"E008"}
    assert ROUTER in str(host.messages()["E008"].hint)


def test_a_router_before_ours_may_answer_for_others(host: Host) -> None:
    class Replica:
        def db_for_read(self, model: Any, **_: Any) -> str | None:
            return "default" if model._meta.app_label == "auth" else None

    host.add_database(**SQLITE)
    host.install(Replica(), ROUTER)
    host.set(**ON)
    assert not host.messages()


@pytest.mark.parametrize(
    ("database", "options", "expected"),
    [
        (POSTGRESQL, {}, {"W004"}),
        (POSTGRESQL, {"options": "-c statement_timeout=5000"}, {"W004"}),
        (POSTGRESQL, {"connect_timeout": 2}, set()),
        (POSTGRESQL, {"service": "history"}, set()),
        (MYSQL, {}, {"W004"}),
        (MYSQL, {"read_timeout": 5, "write_timeout": 5}, {"W004"}),
        (MYSQL, {"connect_timeout": 2}, set()),
        (MYSQL, {"read_default_file": "/etc/mysql/history.cnf"}, set()),
    ],
)
def test_a_server_that_does_not_answer_must_not_hold_up_learners(
    host: Host, database: dict[str, str], options: dict[str, Any], expected: set[str]
) -> None:
    pytest.importorskip("psycopg" if database is POSTGRESQL else "MySQLdb")
    host.add_extended_history(**database, OPTIONS=options)
    messages = host.messages()
    assert messages.keys() == expected
    assert all(repr(ALIAS) in message.msg and "connect_timeout" in str(message.hint) for message in messages.values())


@pytest.mark.parametrize(("missing", "expected"), [("transaction_mode", {"W002"}), ("init_command", {"W003"})])
def test_the_history_on_sqlite_must_be_set_up_for_several_requests(
    host: Host, missing: str, expected: set[str]
) -> None:
    options = {name: value for name, value in SQLITE_OPTIONS.items() if name != missing}
    host.add_extended_history(**{**SQLITE, "OPTIONS": options})
    assert host.messages().keys() == expected
    assert repr(ALIAS) in str(host.messages()[next(iter(expected))].hint)

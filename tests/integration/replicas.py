"""A replica of the state's database that lags: a second database, which gets the rows of the first when it is told."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections

ALIAS = "replica"


class Replica:
    """A copy of the tables of the database ``default``, as they were at the last `catch_up`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._has_tables = False

    def catch_up(self) -> None:
        """Copy all rows."""
        connections[ALIAS].close()
        getattr(self, f"_copy_{connection.vendor}")()

    def drop(self) -> None:
        """Remove the copy."""
        connections[ALIAS].close()
        del connections[ALIAS]
        if connection.vendor != "sqlite":
            self._execute(f"DROP SCHEMA IF EXISTS {self._name}{self._cascade}")

    def _copy_sqlite(self) -> None:
        connection.ensure_connection()
        with closing(sqlite3.connect(self._name)) as target:
            connection.connection.backup(target)

    def _copy_postgresql(self) -> None:
        self._copy_tables("public", "CREATE TABLE {} (LIKE {} INCLUDING ALL)")

    def _copy_mysql(self) -> None:
        self._copy_tables(connection.settings_dict["NAME"], "CREATE TABLE {} LIKE {}")

    def _copy_tables(self, source: str, create: str) -> None:
        """Copy the tables of state and history. There are no users: nothing may ask a replica for them."""
        tables = [name for name in connection.introspection.table_names() if name.startswith("xblock_user_state")]
        if not self._has_tables:
            self._execute(f"DROP SCHEMA IF EXISTS {self._name}{self._cascade}", f"CREATE SCHEMA {self._name}")
            self._execute(*(create.format(f"{self._name}.{table}", f"{source}.{table}") for table in tables))
            self._has_tables = True
        for table in tables:
            copy = f"{self._name}.{table}"
            self._execute(f"DELETE FROM {copy}", f"INSERT INTO {copy} SELECT * FROM {source}.{table}")  # noqa: S608

    @property
    def _cascade(self) -> str:
        return " CASCADE" if connection.vendor == "postgresql" else ""

    @staticmethod
    def _execute(*statements: str) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def allow(alias: str) -> None:
    """Let this thread connect to a database that the test has added, which Django's test case refuses."""
    added = connections[alias]

    def ensure_connection() -> None:
        if added.connection is None:
            with added.wrap_database_errors:
                added.connect()

    added.ensure_connection = ensure_connection  # type: ignore[method-assign]


@pytest.fixture
def replica(transactional_db: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Replica]:
    """The replica, under the alias ``replica``, with the rows of the beginning of the test."""
    is_file = connection.vendor == "sqlite"
    name = str(tmp_path / "replica.sqlite3") if is_file else f"{connection.settings_dict['NAME']}_replica"
    settings = {**connection.settings_dict, "NAME": name}
    if connection.vendor == "postgresql":
        # A schema of the same database: copying a whole database takes longer.
        options = {**connection.settings_dict["OPTIONS"], "options": f"-c search_path={name}"}
        settings = {**connection.settings_dict, "OPTIONS": options}
    monkeypatch.setitem(connections.settings, ALIAS, settings)
    allow(ALIAS)
    found = Replica(name)
    found.catch_up()
    yield found
    found.drop()


@pytest.fixture
def unreachable_replica(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A replica under the alias ``replica`` that is down."""
    name, port = ("/nowhere/replica.sqlite3", "") if connection.vendor == "sqlite" else ("replica", "1")
    monkeypatch.setitem(connections.settings, ALIAS, {**connection.settings_dict, "NAME": name, "PORT": port})
    allow(ALIAS)
    yield
    connections[ALIAS].close()
    del connections[ALIAS]


class _Proxy:
    """Chooses the server of each statement: the replica for reads, until a transaction has sent anything else.

    pgpool 4.3 does so, but for savepoints, which it takes for writes. The proxies of MariaDB and MySQL send all of a
    transaction to the primary.
    """

    def __init__(self) -> None:
        # Django makes a new list of hooks for each transaction.
        self._writing: object = None

    def is_for_replica(self, sql: str) -> bool:
        if _TRANSACTION_CONTROL.match(sql):
            return False
        is_read = bool(_READ.match(sql)) and not _WRITE.search(sql)
        if connection.get_autocommit():
            return is_read
        if connection.vendor != "postgresql" or not is_read:
            self._writing = connection.run_on_commit
        return self._writing is not connection.run_on_commit


_READ = re.compile(r"SELECT|WITH")
# Anywhere in the statement.
_WRITE = re.compile(r"\b(INSERT INTO|DELETE FROM|UPDATE [\"`]|FOR UPDATE)")
_TRANSACTION_CONTROL = re.compile(r"BEGIN|SAVEPOINT|RELEASE|ROLLBACK|COMMIT")


class _SplitCursor:
    """A cursor that runs each statement on the server that the proxy has chosen."""

    def __init__(self, proxy: _Proxy, primary: Any, replica: Any) -> None:
        self._proxy, self._primary, self._replica = proxy, primary, replica
        self._chosen = primary

    def execute(self, sql: str, parameters: Any = None) -> Any:
        self._chosen = self._replica if self._proxy.is_for_replica(sql) else self._primary
        return self._chosen.execute(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chosen, name)

    def __enter__(self) -> _SplitCursor:
        return self

    def __exit__(self, *_: object) -> None:
        self._primary.close()
        self._replica.close()


@contextmanager
def splitting() -> Iterator[None]:
    """Send reads to the replica, as proxies such as pgpool and MaxScale can."""
    primary: Any = connections["default"]
    cursor, proxy = primary.cursor, _Proxy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(primary, "cursor", lambda: _SplitCursor(proxy, cursor(), connections[ALIAS].cursor()))
        yield

"""Test databases on a cluster of Citus: ``CITUS_URL`` names a database on its coordinator, where the servers are known.

A test database then exists on each server of the cluster, and `distribute_user_state` distributes its tables.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.db import connection, connections

URL = os.environ.get("CITUS_URL")
DIALECT = "citus" if URL else connection.vendor
"""The name of the dialect that the tests run with."""

_SHARDS = 8


@contextmanager
def distributed() -> Iterator[None]:
    """Give the test databases of all aliases a part on each server of the cluster, and distribute their tables."""
    with ExitStack() as databases:
        for alias in connections:
            databases.enter_context(_on_each_server(alias))
        distribute()
        yield


def distribute() -> None:
    """Distribute the tables that are not in their places, such as those that a test has made anew. Needs no cluster."""
    if not URL:
        return
    # Databases of one cluster can't be distributed at once: Citus gives the replication slots the same names.
    with _connected_to_base() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1)")
        call_command("distribute_user_state", stdout=StringIO())


@contextmanager
def _on_each_server(alias: str) -> Iterator[None]:
    name = connections[alias].settings_dict["NAME"]
    (_, *coordinator), *workers = _servers()
    for _, host, port in workers:
        with connected("postgres", host, port) as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
        with connected(name, host, port) as cursor:
            cursor.execute("CREATE EXTENSION citus")
    try:
        # Sessions that begin later have these settings.
        _execute(
            alias,
            "CREATE EXTENSION citus",
            f'ALTER DATABASE "{name}" SET citus.shard_count = {_SHARDS}',
            # Tests refuse rows by triggers.
            f'ALTER DATABASE "{name}" SET citus.enable_unsafe_triggers = on',
        )
        connections[alias].close()
        _execute(
            alias,
            f"SELECT citus_set_coordinator_host('{coordinator[0]}', {coordinator[1]})",
            *(f"SELECT citus_add_node('{host}', {port})" for _, host, port in workers),
        )
        yield
    finally:
        connections[alias].close()
        for _, host, port in workers:
            with connected("postgres", host, port) as cursor:
                cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _servers() -> Sequence[tuple[int, str, int]]:
    """Return group, host and port of each server, the coordinator first."""
    with _connected_to_base() as cursor:
        cursor.execute(
            "SELECT groupid, nodename, nodeport FROM pg_dist_node WHERE noderole = 'primary' AND isactive ORDER BY 1"
        )
        servers: Sequence[tuple[int, str, int]] = cursor.fetchall()
    return servers


@contextmanager
def _connected_to_base() -> Iterator[Any]:
    """Open a connection to the database that ``CITUS_URL`` names; yield a cursor."""
    url = connections["default"].settings_dict
    with connected(URL.rpartition("/")[2] if URL else "", url["HOST"], url["PORT"]) as cursor:
        yield cursor


@contextmanager
def connected(database: str, host: str, port: int) -> Iterator[Any]:
    """Open a connection of the tests' account to any database and server; yield a cursor."""
    other = connections["default"].copy()
    other.settings_dict.update({"NAME": database, "HOST": host, "PORT": str(port)})
    try:
        with other.cursor() as cursor:
            yield cursor
    finally:
        other.close()


def _execute(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for each in statements:
            cursor.execute(each)

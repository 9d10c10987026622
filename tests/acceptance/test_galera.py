"""Writers on three nodes of a Galera cluster: no acknowledged write is lost, and no history is torn.

The tests of races and kills that run on one server run here again, with the workers spread over the nodes. A node does
not know the locks of the others: two transactions meet at the commit of the second one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dj_database_url
import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, connections, transaction
from xblock.fields import Scope

from scripts.database_servers import BinariesMissing, galera
from tests.acceptance.agreement import assert_agreement
from tests.acceptance.processes import Crew, ForkServer
from tests.acceptance.scene import problems
from tests.acceptance.test_callers_transactions import (  # noqa: F401 (they run here again)
    test_a_transaction_is_committed_wholly_or_refused,
    test_new_blocks_in_transactions_of_several_callers,
)
from tests.acceptance.test_kill import (  # noqa: F401 (as above)
    test_a_killed_writer_does_not_disturb_others,
    test_a_killed_writer_leaves_whole_calls_only,
)
from tests.acceptance.test_many_blocks import (  # noqa: F401 (as above)
    test_all_learners_meet_new_blocks_at_once,
    test_one_learner_s_new_blocks_are_created_by_all_at_once,
    test_writers_of_overlapping_choices_of_blocks,
)
from tests.acceptance.test_one_block import (  # noqa: F401 (as above)
    test_all_fields_survive_where_no_history_is_recorded,
    test_the_last_commit_of_one_field_wins,
)
from tests.integration.interference import on_another_connection
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import Conflict, ServiceUnavailable

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

pytestmark = [
    pytest.mark.skipif(connection.vendor != "mysql", reason="Galera is a cluster of MariaDB"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def ports(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[list[str]]:
    """The ports of three nodes, which have the tables of the run's test database."""
    try:
        with galera() as nodes:
            ports = [str(dj_database_url.parse(node.url)["PORT"]) for node in nodes]
            with django_db_blocker.unblock():
                tables = list(_tables())
                with connected_to(ports[0]):
                    _create(tables)
            yield ports
    except BinariesMissing as missing:
        if os.environ.get("REQUIRE_DATABASES") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@contextmanager
def connected_to(port: str) -> Iterator[None]:
    """Let this thread use a node. Its reads wait until the node has the commits of the others."""
    settings = connection.settings_dict
    connection.close()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"HOST": "127.0.0.1", "PORT": port, "USER": "root", "PASSWORD": ""}.items():
            patch.setitem(settings, name, value)
        patch.setitem(settings["OPTIONS"], "init_command", "SET SESSION wsrep_sync_wait = 1")
        try:
            yield
        finally:
            connection.close()


def _tables() -> Iterator[str]:
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SHOW CREATE TABLE {connection.ops.quote_name(table)}")
            yield cursor.fetchone()[1]


def _create(tables: Sequence[str]) -> None:
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {connection.settings_dict['NAME']} CHARACTER SET utf8mb4")
    with connection.constraint_checks_disabled(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(table)


@pytest.fixture(autouse=True)
def _cluster(transactional_db: None, ports: list[str]) -> Iterator[None]:
    """Use the first node, and leave no rows behind."""
    with connected_to(ports[0]):
        yield
        with connection.constraint_checks_disabled(), connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")  # noqa: S608


def elsewhere(port: str, action: Callable[[], object]) -> None:
    """Run `action` on another node, as another process would."""

    def run() -> None:
        other = connections["default"]
        other.settings_dict = {**other.settings_dict, "PORT": port}
        action()

    on_another_connection(run)


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def crew(fork_server: ForkServer, child_environment: dict[str, str], ports: list[str]) -> Iterator[Crew]:
    """Worker processes, by turns on each of the nodes."""
    fork_server.start({**child_environment, "WORKER_PORTS": " ".join(ports)})
    crew = Crew(fork_server)
    yield crew
    crew.dismiss()


@pytest.fixture
def learners(learners: list[str], ports: list[str]) -> list[str]:
    """The learners, whom all nodes know."""
    for port in ports:
        elsewhere(port, get_user_model().objects.first)
    return learners


def test_a_node_gets_no_packets(learner: str) -> None:
    client = DjangoXBlockUserStateClient()
    with captured() as statements:
        for number in range(2):
            client.set(learner, problems("new", 1)[0], {"n": number})
    assert sum(statement.startswith(("INSERT", "UPDATE")) for statement in statements) >= 4
    assert [statement for statement in statements if "; " in statement] == []


Write = Callable[[str], None]


@pytest.fixture
def met(learner: str, ports: list[str]) -> Write:
    """Sets a field in a block, in an open transaction of this node, while another field is set on another node."""
    [block] = problems("met", 1)
    DjangoXBlockUserStateClient().set(learner, block, {"first": 1})

    def write(name: str) -> None:
        DjangoXBlockUserStateClient().set(learner, block, {name: 1})
        elsewhere(ports[1], lambda: DjangoXBlockUserStateClient().set(learner, block, {f"before {name}": 1}))

    return write


def fields(learner: str) -> list[list[str]]:
    """Return the fields of each block. State and history must agree."""
    found = DjangoXBlockUserStateClient().get_many(learner, problems("met", 2))
    states = [sorted(state.state or {}) for state in found]
    assert assert_agreement() == len(states)
    return states


def in_transaction(write: Write, name: str) -> None:
    with transaction.atomic():
        write(name)


def test_in_a_callers_transaction_a_conflict_comes_at_the_commit(met: Write, learner: str) -> None:
    with pytest.raises(OperationalError, match="1213"):
        in_transaction(met, "lost")
    assert fields(learner) == [["before lost", "first"]]
    with transaction.atomic():
        DjangoXBlockUserStateClient().set(learner, problems("met", 1)[0], {"again": 1})
    assert fields(learner) == [["again", "before lost", "first"]]


def test_of_a_callers_transaction_nothing_is_there_after_a_conflict(met: Write, learner: str) -> None:
    """The error comes from the next call, or from the end of the block if the node has not heard of the other yet."""

    def write_more(name: str) -> None:
        met(name)
        DjangoXBlockUserStateClient().set(learner, problems("met", 2)[1], {name: 1})

    with pytest.raises((ServiceUnavailable, OperationalError)):
        in_transaction(write_more, "lost")
    assert fields(learner) == [["before lost", "first"]]


def test_a_lost_lock_is_a_conflict(met: Write, learner: str) -> None:
    """So `run_guarded` runs the request again."""

    def locked() -> None:
        with DjangoXBlockUserStateClient().locked(learner, {Scope.user_state: problems("met", 1)}):
            met("lost")

    with pytest.raises(Conflict):
        locked()
    assert fields(learner) == [["before lost", "first"]]

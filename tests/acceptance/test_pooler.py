"""Behind PgBouncer in transaction mode, each transaction may get another server connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections

from scripts.database_servers import BinariesMissing, pgbouncer
from tests.factories import make_block
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.store.dialects import preparing

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="PgBouncer is a pooler for PostgreSQL")


@pytest.fixture
def pooled(transactional_db: None) -> Iterator[None]:
    """Sends the test's connections through the pooler, in this thread and in new ones."""
    settings = connection.settings_dict
    direct = settings["PORT"]
    connection.close()
    try:
        with pgbouncer(settings["HOST"], str(direct or 5432), settings["NAME"]) as port:
            settings["PORT"] = port
            yield
            connection.close()
    except BinariesMissing as missing:
        if os.environ.get("REQUIRE_DATABASES") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    finally:
        settings["PORT"] = direct


def in_another_thread(work: Callable[[], object]) -> None:
    """Run `work` on a new connection."""

    def connected() -> None:
        try:
            work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as executor:
        executor.submit(connected).result()


def test_nothing_is_prepared(pooled: None, learner: str) -> None:
    client = DjangoXBlockUserStateClient()
    for number in range(2 * preparing.FIRST_STATEMENTS):
        client.set(learner, make_block(), {"n": number})
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        assert cursor.fetchall() == []


def test_an_iteration_holds_nothing_between_its_pages(pooled: None, learners: list[str]) -> None:
    client = DjangoXBlockUserStateClient()
    for name in learners:
        client.set(name, make_block(), {"answer": name})
    found = client.iter_all_for_block(make_block(), batch_size=3)
    seen = [next(found).username]
    in_another_thread(lambda: DjangoXBlockUserStateClient().set(learners[0], make_block("other"), {"answer": "B"}))
    seen += [state.username for state in found]
    assert sorted(map(str, seen)) == sorted(learners)


def test_all_calls_work_over_one_server_connection(pooled: None, learner: str) -> None:
    client = DjangoXBlockUserStateClient()
    client.set(learner, make_block(), {"answer": "A"})
    in_another_thread(lambda: DjangoXBlockUserStateClient().set_score(learner, make_block(), 1, 2))
    client.delete(learner, make_block(), fields=["answer"])
    assert [entry.state for entry in client.get_history(learner, make_block())] == [
        None,
        {"answer": "A"},
        {"answer": "A"},
    ]
    assert client.get_scores(learner, [make_block()])[make_block()].grade == 1
    assert list(client.get_many(learner, [make_block()])) == []

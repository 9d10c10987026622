"""Writers whose connection the server ends, as an operator or a failover does."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.acceptance import workers
from tests.acceptance.agreement import assert_agreement
from tests.acceptance.processes import Crew
from tests.acceptance.scene import problems
from xblock_user_state.client import DjangoXBlockUserStateClient

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server"),
]


def test_a_lost_connection_is_service_unavailable_and_the_next_call_works(crew: Crew, learner: str) -> None:
    [block] = problems("lost", 1)
    writer = crew.start(workers.keep_setting, learner, block)
    for _ in range(10):
        before = len(writer.said)
        while len(writer.said) < before + 3:
            writer.receive()
        _end_all_other_connections()
    said = writer.stop()
    committed = {f"{number}" for number, is_committed in said if is_committed}
    refused = {f"{number}" for number, is_committed in said if not is_committed}
    assert 0 < len(refused) <= 10
    state = DjangoXBlockUserStateClient().get(learner, block).state or {}
    # A write whose connection ended during the commit may have been committed anyway.
    assert committed <= set(state) <= committed | refused
    assert assert_agreement() == 1


def _end_all_other_connections() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
        for (session,) in cursor.fetchall():
            cursor.execute("KILL %s", [session])

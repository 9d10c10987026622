"""Iteration over more learners than fit in memory, and behind a pooler."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from tests.acceptance import workers
from tests.acceptance.processes import Crew, finish
from tests.acceptance.scene import problems
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

[BLOCK] = problems("popular", 1)
LEARNERS = 20_000
STATE_BYTES = 4_000


def _make_states(count: int) -> None:
    """Insert this many learners, each with a state of some kilobytes in the block."""
    user = get_user_model()
    user.objects.bulk_create((user(username=f"one-of-many-{number}") for number in range(count)), batch_size=1000)
    DjangoXBlockUserStateClient().set("one-of-many-0", BLOCK, {"answer": "x" * STATE_BYTES})
    first = StudentModule.objects.get()
    now = datetime.now(UTC)
    others = user.objects.exclude(pk=first.student_id).values_list("pk", flat=True)
    columns: dict[str, Any] = {"revision": 1, "state": first.state, "created": now, "modified": now}
    StudentModule._base_manager.bulk_create(
        (StudentModule(student_id=pk, block_id=first.block_id, **columns) for pk in others), batch_size=1000
    )


def test_memory_stays_flat_however_many_learners_there_are(crew: Crew) -> None:
    _make_states(LEARNERS)
    [[(found, growth)]] = finish(crew.start(workers.iterate, BLOCK, 500))
    assert found == LEARNERS
    # A page and its rows under construction take a few megabytes; all states together take more than 90.
    assert growth < 32 * 1024, f"memory grew by {growth} KiB"


def test_nothing_is_open_between_two_items(transactional_db: None) -> None:
    _make_states(10)
    assert not connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
    names = []
    for one in DjangoXBlockUserStateClient().iter_all_for_block(BLOCK, batch_size=3):
        names.append(one.username)
        _assert_nothing_open()
    assert len(set(names)) == len(names) == 10


def test_every_page_may_come_through_another_connection(transactional_db: None) -> None:
    _make_states(10)
    names = []
    for one in DjangoXBlockUserStateClient().iter_all_for_block(BLOCK, batch_size=3):
        names.append(one.username)
        # In transaction mode a pooler gives each statement any free session.
        connection.close()
    assert len(set(names)) == len(names) == 10


def _assert_nothing_open() -> None:
    assert connection.get_autocommit()
    assert not connection.in_atomic_block
    if connection.vendor == "postgresql":
        assert connection.connection.info.transaction_status.name == "IDLE"
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_cursors WHERE name <> ''")
            assert cursor.fetchone() == (0,)

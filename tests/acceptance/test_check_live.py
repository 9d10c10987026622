"""`check_history`, `repair_history` and `sweep_history` while the site works: no false alarm, no needless change."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import StringIO
from itertools import count
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError
from opaque_keys.edx.keys import UsageKey

from tests.acceptance import workers
from tests.acceptance.processes import Crew
from tests.acceptance.scene import problems, workload
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.outbox.relay import Relay
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.models import StudentModule

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
TWO = pytest.mark.extended_history

SAME_DATABASE = {"EXTENDED_HISTORY": False}
AT_ONCE = {"EXTENDED_HISTORY": True}
BY_RELAY = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
ROUNDS = workload(servers=6, sqlite=4)


def write_forever(learner: str, blocks: list[UsageKey]) -> Iterator[int]:
    """Change the blocks one after another, without end."""
    client = DjangoXBlockUserStateClient()
    for number in count():
        client.set(learner, blocks[number % len(blocks)], {"number": number})
        yield number
        _let_others_work()


def write_and_delete_forever(learner: str, blocks: list[UsageKey]) -> Iterator[int]:
    """Change the blocks some times, then delete their state for good, without end."""
    client = DjangoXBlockUserStateClient()
    for number in count():
        client.set_many(learner, {block: {"number": number} for block in blocks})
        if number % 4 == 3:
            # A deadlock has ended the caller's transaction; only the caller can repeat it.
            with suppress(OperationalError):
                StudentModule.objects.filter(student__username=learner).delete()
        yield number
        _let_others_work()


def move_history_forever() -> Iterator[int]:
    """Ship the outbox and move the default history, without end."""
    for number in count():
        list(Relay("default", 100).once())
        list(Backfill("default", 100, remove_source=True).pages())
        yield number
        _let_others_work()


def _let_others_work() -> None:
    """Pause long enough for other processes to get their turn, on SQLite too."""
    time.sleep(0.1)


@pytest.mark.parametrize(
    "flags",
    [[SAME_DATABASE], pytest.param([SAME_DATABASE, AT_ONCE, BY_RELAY], marks=TWO)],
    ids=["one database", "two databases"],
)
def test_what_happens_meanwhile_is_no_fault(crew: Crew, learners: list[str], flags: list[Mapping[str, Any]]) -> None:
    blocks = problems("block", 3)
    writers = [
        crew.start(workers.with_settings, one, work, learners[2 * number + is_deleting], blocks)
        for number, one in enumerate(flags)
        for is_deleting, work in enumerate([write_forever, write_and_delete_forever])
    ]
    movers = [crew.start(workers.with_settings, AT_ONCE, move_history_forever)] if len(flags) > 1 else []
    for _ in range(ROUNDS):
        for worker in writers:
            worker.receive()
        for worker in [*writers, *movers]:
            worker.listen(0)
        call_command("check_history", "--batch", "20", stdout=StringIO())
        swept = StringIO()
        call_command("sweep_history", "--batch", "20", stdout=swept)
        repaired = StringIO()
        call_command("repair_history", "--batch", "20", stdout=repaired)
        assert repaired.getvalue().endswith(" rows were checked; 0 were repaired.\n")
        assert swept.getvalue().count(": 0 entries belong to no state") == len(swept.getvalue().splitlines())
    for worker in [*writers, *movers]:
        worker.stop()
    assert StudentModule.objects.exists()
    call_command("check_history", stdout=StringIO())

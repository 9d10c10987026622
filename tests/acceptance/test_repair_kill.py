"""``repair_history`` killed with ``kill -9``: each row is repaired as a whole, and the next run does the rest."""

from __future__ import annotations

from functools import partial

import pytest
from django.db import connections

from tests.acceptance.conftest import Manage, Start
from tests.acceptance.waiting import wait_until
from tests.factories import make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.encoding import FULL, LOST
from xblock_user_state.history.entries import stores
from xblock_user_state.interface import DamagedHistory, HistoryEntry
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.models import StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

NAMES = ("ann", "ben", "cyd")
BLOCKS = 50
REVISIONS = 3
KILLS = 3


@pytest.mark.parametrize(
    "databases", ["one", pytest.param("two", marks=pytest.mark.extended_history)], ids=lambda name: f"{name} databases"
)
def test_rows_are_whole_after_each_kill(start: Start, manage: Manage, databases: str) -> None:
    make_learners(*NAMES)
    client = DjangoXBlockUserStateClient()
    blocks = make_blocks(BLOCKS)
    for name in NAMES:
        for number in range(REVISIONS):
            client.set_many(name, {block: {"n": number} for block in blocks})
    if databases == "two":
        list(Backfill("default", 500).pages())
    for model, alias in stores("default"):
        model._base_manager.using(alias).filter(revision=1).update(encoding=FULL, body=b"damaged")
    StudentModule._base_manager.update(state='{"n": "of a stranger"}')

    for _ in range(KILLS):
        process = start("django", "repair_history")
        wait_until(partial(are_repaired, repaired() + 5), process)
        process.kill()
        process.wait()
        assert_whole_rows()
    assert 0 < repaired() < len(NAMES) * BLOCKS

    manage("repair_history")

    rows = len(NAMES) * BLOCKS
    assert repaired() == rows
    assert manage("check_history") == (
        f"{rows} rows with {rows * (REVISIONS + 1)} entries were checked.\n"
        f"{rows * REVISIONS} entries were lost and are closed off.\n"
    )
    for name in NAMES:
        for block in blocks:
            newest, *older = client.get_history(name, block)
            assert newest.state == {"n": "of a stranger"}
            assert not any(map(is_readable, older))


def repaired() -> int:
    """Return the number of rows that have got a revision for the change by a stranger."""
    return StudentModule._base_manager.filter(revision=REVISIONS + 1).count()


def are_repaired(rows: int) -> bool:
    """Tell whether at least so many rows are repaired."""
    return repaired() >= rows


def assert_whole_rows() -> None:
    """Check that the row and its local entries were changed together, or not at all."""
    connections.close_all()
    repaired_rows = set(
        StudentModule._base_manager.filter(revision__gt=REVISIONS).values_list("student_id", "block_id")
    )
    entries = StudentModuleHistory._base_manager
    closed = entries.filter(encoding=LOST, revision=1).values_list("student_id", "block_id")
    newest = entries.filter(revision=REVISIONS + 1).values_list("student_id", "block_id")
    assert set(closed) == set(newest) == repaired_rows


def is_readable(entry: HistoryEntry) -> bool:
    """Tell whether the state of an entry can be read."""
    try:
        _ = entry.state
    except DamagedHistory:
        return False
    return True

"""Maintenance touches the rows that it is about: no statement reads a table, or an index, from one end to the other.

Each database plans each statement just before it executes it, in tables of some thousand rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest
from django.db import connections
from django.db.models import Q
from pytest_django import Settings

from tests.factories import COURSE, make_block, make_blocks, make_learners
from tests.integration.plans import planned
from xblock_user_state import actions
from xblock_user_state.actions.moving import _moves
from xblock_user_state.archive.selection import Selection
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.history.encoding import PLAIN
from xblock_user_state.history.entries import Key, Owner, leave_tombstones, stores
from xblock_user_state.history.outbox.relay import Relay
from xblock_user_state.history.outbox.shipping import ship
from xblock_user_state.interface import UserId
from xblock_user_state.maintenance import deletion, moving, paging, verification
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.maintenance.modified import rows_modified
from xblock_user_state.maintenance.orphans import sweeps
from xblock_user_state.maintenance.verification import Verification
from xblock_user_state.models import StudentModule
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCKS = make_blocks(25)
IDS = sorted(identify_block(block).id for block in BLOCKS)
NAMES = [f"learner{number:03}" for number in range(60)]
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
# 48,000 rows in each table. A planner prefers a scan of a small table to any index.
DOUBLINGS = 5


@pytest.fixture
def learners(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of learners with a state and an entry in each block, in all stores. Jobs take small parts of the tables."""
    # PostgreSQL rightly scans the table for a page of 500 learners of one block: they are a quarter of all.
    for job in (deletion, moving, paging, verification):
        monkeypatch.setattr(job, "PAGE", 20)
    ids = [user.pk for user in make_learners(*NAMES)]
    # The first write of each block registers it.
    Client().set_many(NAMES[0], {block: {"answer": 1} for block in BLOCKS})
    state = {"state": '{"answer": 1}', "modified": BEGUN}
    entry = {"encoding": PLAIN, "body": b"{}"}
    tables: list[tuple[type[Any], str, dict[str, Any]]] = [(StudentModule, "default", state)]
    tables += [(model, alias, entry) for model, alias in stores("default")]
    for model, alias, columns in tables:
        rows = model._base_manager.using(alias)
        rows.all()._raw_delete(alias)
        key = {"revision": 1, "created": BEGUN, **columns}
        rows.bulk_create(model(student_id=student, block_id=block, **key) for student in ids for block in IDS)
        _double(alias, model._meta.db_table, [field.column for field in model._meta.concrete_fields])
    return ids


def _double(alias: str, table: str, columns: Sequence[str]) -> None:
    """Insert the same rows for other learners, and tell the planner of them as a site's server does by itself."""
    analyze = {"postgresql": "VACUUM ANALYZE", "mysql": "ANALYZE TABLE"}.get(connections[alias].vendor)
    others = [column for column in columns if column != "student_id"]
    with connections[alias].cursor() as cursor:
        for number in range(DOUBLINGS):
            cursor.execute(
                f"INSERT INTO {table} (student_id, {', '.join(others)}) "  # noqa: S608
                f"SELECT student_id + {100_000 << number}, {', '.join(others)} FROM {table}"
            )
        if analyze:
            cursor.execute(f"{analyze} {table}")


def _check(_: list[int]) -> None:
    assert all(page.rows for page in islice(Verification("default", size=50).pages(), 2))
    assert all(page.rows for page in islice(Verification("default", IDS[:2]).pages(), 2))


def _export(learners: list[int]) -> None:
    for selection in (Selection("default"), Selection("default", learners[7]), Selection("default", None, IDS)):
        assert len(list(islice(selection.entries(), 40))) >= len(BLOCKS)
    after = Key(learners[20], IDS[0], 1)
    assert len(list(islice(Selection("default").entries(after), 20))) == 20


def _iterate(_: list[int]) -> None:
    assert len(list(islice(Client().iter_all_for_block(BLOCKS[3], batch_size=10), 30))) == 30
    assert len(list(islice(Client().iter_all_for_course(COURSE, batch_size=50), 120))) == 120


def _look_up(learners: list[int]) -> None:
    assert len(Client().get_latest(UserId(learners[3]), 5)) == 5
    assert len(Client().get_latest(UserId(learners[3]), 5, COURSE)) == 5
    assert len(list(islice(rows_modified(BEGUN, after=(learners[5], IDS[3])), 500))) == 500


def _delete(learners: list[int]) -> None:
    pages = islice(deletion.delete_blocks("default", IDS[:1]), 3)
    assert [page.states for page in pages] == [deletion.PAGE] * 3
    actions.delete_learner(learners[-1])


def _move_state(_: list[int]) -> None:
    moves = _moves("default", BLOCKS[5], make_block("new"))
    pages = islice(moving.move_blocks("default", moves), 3)
    assert sum(page.states for page in pages) == 3 * moving.PAGE


def _sweep(learners: list[int]) -> None:
    StudentModule._base_manager.filter(student_id=learners[1])._raw_delete("default")
    for sweep in sweeps("default", 50):
        pages = islice(sweep.pages(remove=True), 3)
        assert sum(len(page.orphans) for page in pages) == len(BLOCKS)


def _ship(learners: list[int]) -> None:
    which = Q(student_id=learners[3], block_id__in=IDS[:5])
    assert ship("default", which, size=105).rows == 5
    leave_tombstones("default", [Owner(learners[4], block_id) for block_id in IDS])
    # A deleted block has one tombstone for each of its learners.
    leave_tombstones("default", [Owner(student_id, IDS[0]) for student_id in learners[5:40]])
    shipped = list(islice(Relay("default", 50).once(), 12))
    assert len(shipped) == 12
    assert all(shipped)


def _move(_: list[int]) -> None:
    assert [page.removed for page in islice(Backfill("default", 50, remove_source=True).pages(), 3)] == [50] * 3


def test_no_statement_reads_a_whole_table(learners: list[int]) -> None:
    with planned() as scans:
        for act in (_check, _export, _iterate, _look_up, _sweep, _delete, _move_state):
            act(learners)
    assert scans == []


@pytest.mark.extended_history
def test_no_statement_reads_a_whole_table_beside_an_extended_history(settings: Settings, learners: list[int]) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    with planned() as scans:
        for act in (_check, _export, _sweep, _move, _delete, _ship, _move_state):
            act(learners)
    assert scans == []

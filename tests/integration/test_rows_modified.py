"""The scan of the rows that were changed in a range of time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.contrib.auth import get_user_model

from tests.factories import make_block, make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import delete_rows
from xblock_user_state.interface import UserId
from xblock_user_state.maintenance import paging
from xblock_user_state.maintenance.modified import rows_modified
from xblock_user_state.models import Block

pytestmark = pytest.mark.django_db

BLOCKS = make_blocks(5)


@pytest.fixture
def times() -> list[datetime]:
    """The times of five rows, each of one block, of two learners in turn."""
    make_learners("ann", "bob")
    client = DjangoXBlockUserStateClient()
    found = []
    for number, key in enumerate(BLOCKS):
        found.append(client.set_score("ann" if number % 2 else "bob", key, number, 9))
    return [time for time in found if time is not None]


def numbers(since: datetime, until: datetime | None = None) -> list[float]:
    return sorted(row.score.grade or 0 for row in rows_modified(since, until) if row.score)


@pytest.mark.parametrize("page", [1, 2, 200])
def test_the_range_has_its_begin_and_not_its_end(
    times: list[datetime], monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(paging, "PAGE", page)
    assert numbers(times[0]) == [0, 1, 2, 3, 4]
    assert numbers(times[1], times[3]) == [1, 2]
    assert numbers(times[4] + timedelta(microseconds=1)) == []


def test_rows_tell_who_where_and_when(times: list[datetime]) -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", make_block("essay"), {"a": 1})
    state = client.get("ann", make_block("essay"))
    [row] = rows_modified(state.updated)
    assert (row.username, row.block_key, row.text, row.revision) == ("ann", make_block("essay"), '{"a":1}', 1)
    assert (row.score, row.modified) == (None, state.updated)
    assert row.student_id == get_user_model().objects.get(username="ann").pk
    [scored] = rows_modified(times[4], times[4] + timedelta(microseconds=1))
    assert scored.score == client.get_scores("bob", [BLOCKS[4]])[BLOCKS[4]]


def test_a_scan_goes_on_after_any_row(times: list[datetime]) -> None:
    found = list(rows_modified(times[0]))
    for number, row in enumerate(found, 1):
        assert list(rows_modified(times[0], after=(row.student_id, row.block_id))) == found[number:]


def test_rows_of_nobody_and_of_no_block_are_named_none(times: list[datetime]) -> None:
    DjangoXBlockUserStateClient().set(UserId(987654), BLOCKS[0], {"a": 1})
    delete_rows(Block.objects.filter(usage_key=str(BLOCKS[0])))
    lost = [(row.username, row.block_key) for row in rows_modified(times[0]) if row.block_key is None]
    assert sorted(lost, key=str) == sorted([(None, None), ("bob", None)], key=str)


def test_a_time_without_a_zone_is_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match="since must be an aware datetime"):
        rows_modified(datetime(2026, 1, 1))  # noqa: DTZ001

"""`publish` stores the score of a block's ``grade`` event."""

from __future__ import annotations

from typing import Any

import pytest
from xblock.core import XBlock

from tests.blocks import ASIDE_TYPE, PageRuntime, make_page
from tests.counting import CountingClient
from tests.factories import ADA
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.runtime import UserStateKeyValueStore

IDS, [KEY] = make_page("quiz")


@pytest.fixture
def block(kvs: UserStateKeyValueStore) -> XBlock:
    return PageRuntime(kvs, ADA, IDS).get_block(KEY)


def score(client: CountingClient) -> tuple[float, float | None] | None:
    found = client.get_scores("ada", [KEY]).get(KEY)
    return found and (found.grade, found.max_grade)


def grade(block: XBlock, value: Any, max_value: Any, **more: Any) -> None:
    block.runtime.publish(block, "grade", {"value": value, "max_value": max_value, **more})


def test_a_grade_is_kept_at_once_without_a_unit_of_work(client: CountingClient, block: XBlock) -> None:
    grade(block, 1, 2)
    assert score(client) == (1, 2)


def test_the_last_of_several_in_a_unit_of_work_counts(
    client: CountingClient, kvs: UserStateKeyValueStore, block: XBlock
) -> None:
    with kvs.unit_of_work():
        grade(block, 1, 2)
        grade(block, 0, 2)
        assert score(client) is None
    assert score(client) == (0, 2)
    assert client.commits == 1


def test_none_for_both_takes_the_score_away(client: CountingClient, block: XBlock) -> None:
    grade(block, 1, 2)
    grade(block, None, None)
    assert score(client) is None


def test_other_events_are_ignored(client: CountingClient, block: XBlock) -> None:
    block.runtime.publish(block, "progress", {})
    block.runtime.publish(block, "edx.quiz.shown", {"value": 1, "max_value": 1})
    assert client.commits == 0


def test_an_aside_has_a_score_of_its_own(client: CountingClient, block: XBlock) -> None:
    aside = block.runtime.get_aside_of_type(block, ASIDE_TYPE)
    grade(aside, 1, 1)
    assert score(client) is None
    assert [*client.get_scores("ada", [aside.scope_ids.usage_id])] == [aside.scope_ids.usage_id]


@pytest.mark.parametrize(
    ("event", "error", "message"),
    [
        ({"value": 1}, ValueError, "has no 'max_value'"),
        ({"max_value": 1}, ValueError, "has no 'value'"),
        ({"value": None, "max_value": 1}, ValueError, "grade is None"),
        ({"value": "1", "max_value": 1}, TypeError, "grade must be a number"),
        ({"value": 1, "max_value": float("nan")}, ValueError, "max_grade must be a finite number"),
    ],
)
def test_a_bad_event_is_named_and_nothing_is_kept(
    client: CountingClient, block: XBlock, event: dict[str, Any], error: type[Exception], message: str
) -> None:
    grade(block, 1, 2)
    with pytest.raises(error, match=rf"quiz0.*{message}"):
        block.runtime.publish(block, "grade", event)
    assert score(client) == (1, 2)


@pytest.mark.parametrize(
    ("new", "kept"),
    [((1, 4), (1, 2)), ((2, 4), (2, 4)), ((3, 4), (3, 4)), ((0, 2), (1, 2)), ((None, None), (1, 2))],
)
def test_only_if_higher_compares_the_shares_of_the_maxima(
    client: CountingClient, block: XBlock, new: tuple[Any, Any], kept: tuple[float, float]
) -> None:
    grade(block, 1, 2)
    grade(block, *new, only_if_higher=True)
    assert score(client) == kept


def test_only_if_higher_takes_the_first_score(client: CountingClient, block: XBlock) -> None:
    grade(block, 0, 2, only_if_higher=True)
    assert score(client) == (0, 2)


def test_only_if_higher_counts_what_the_unit_of_work_has_collected(
    client: CountingClient, kvs: UserStateKeyValueStore, block: XBlock
) -> None:
    with kvs.unit_of_work():
        grade(block, 2, 2)
        grade(block, 1, 2, only_if_higher=True)
    assert score(client) == (2, 2)


def test_a_grade_of_another_learner_is_refused(client: CountingClient, block: XBlock) -> None:
    grade(block, 0, 2, user_id=7)
    grade(block, 1, 2, user_id=None)
    with pytest.raises(PermissionDenied, match=r"'ada' \(id 7\).*quiz0.*user id 8"):
        grade(block, 2, 2, user_id=8)
    assert score(client) == (1, 2)

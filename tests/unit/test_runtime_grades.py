"""`publish` stores the score of a block's ``grade`` event."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import AnonymousUser
from xblock.core import XBlock

from tests.blocks import ASIDE_TYPE, PageRuntime, make_page
from tests.counting import CountingClient
from tests.factories import ADA
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.runtime import UserStateKeyValueStore
from xblock_user_state.runtime.grades import grade_of

IDS, [KEY] = make_page("quiz")


@pytest.fixture
def block(kvs: UserStateKeyValueStore) -> XBlock:
    return PageRuntime(kvs, ADA, IDS).get_block(KEY)


def score(client: CountingClient) -> tuple[float | None, float | None] | None:
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


MALFORMED = [
    ({"value": 1}, ValueError, "has no 'max_value'"),
    ({"max_value": 1}, ValueError, "has no 'value'"),
    ({"value": None, "max_value": 1}, ValueError, "grade is None"),
    ({"value": 1, "max_value": None}, ValueError, "max_value is None"),
    ({"value": "1", "max_value": 1}, TypeError, "grade must be a number"),
    ({"value": [[[[[[[]]]]]]], "max_value": 1}, TypeError, "grade must be a number"),
    ({"value": {}, "max_value": 1}, TypeError, "grade must be a number"),
    ({"value": 1j, "max_value": 1}, TypeError, "grade must be a number"),
    ({"value": np.array([1, 2]), "max_value": 1}, TypeError, "grade must be a number"),
    ({"value": 1, "max_value": float("nan")}, ValueError, "max_grade must be a finite number"),
    ({"value": np.float64("nan"), "max_value": 1}, ValueError, "grade must be a finite number"),
    ({"value": 1, "max_value": Fraction(10**400)}, ValueError, "max_grade must be a finite number"),
    ({"value": 1, "max_value": 1, "user_id": [7]}, TypeError, r"user_id must be an id, not \[7\]"),
    ({"value": 1, "max_value": 1, "user_id": {"a": [[[[[[[[]]]]]]]]}}, TypeError, "user_id must be an id"),
    ({}, ValueError, "has no 'value'"),
    (None, TypeError, "must be a dict, not None"),
    ([], TypeError, "must be a dict, not \\[\\]"),
    ("value", TypeError, "must be a dict, not 'value'"),
    (1, TypeError, "must be a dict, not 1"),
]


@pytest.mark.parametrize(("event", "error", "message"), MALFORMED)
def test_a_malformed_event_has_no_score(event: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        grade_of(event)


# A page may have sent the event, and its learner must not see our error.
@pytest.mark.parametrize(("event", "error", "message"), MALFORMED)
def test_a_malformed_event_is_logged_and_nothing_is_kept(
    client: CountingClient,
    block: XBlock,
    caplog: pytest.LogCaptureFixture,
    event: Any,
    error: type[Exception],
    message: str,
) -> None:
    grade(block, 1, 2)
    block.runtime.publish(block, "grade", event)
    assert score(client) == (1, 2)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert re.search(rf"quiz0.*{message}", caplog.text)


def test_the_log_of_a_large_event_is_short(block: XBlock, caplog: pytest.LogCaptureFixture) -> None:
    for event in ("x" * 10**6, {"value": "x" * 10**6, "max_value": 1}, {"value": None, "max_value": 10**1000}):
        block.runtime.publish(block, "grade", event)
    assert [len(record.getMessage()) < 500 for record in caplog.records] == [True] * 3


@pytest.mark.parametrize(
    "points",
    [1, 1.0, True, Decimal(1), Fraction(1, 1), np.int64(1), np.uint8(1), np.float32(1), np.float64(1)],
    ids=repr,
)
def test_numbers_of_every_type_are_points(client: CountingClient, block: XBlock, points: Any) -> None:
    grade(block, points, points)
    assert score(client) == (1, 1)


def test_an_object_with_an_index_is_points(client: CountingClient, block: XBlock) -> None:
    class Points:
        def __index__(self) -> int:
            return 3

    grade(block, Points(), 4)
    assert score(client) == (3, 4)


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


@pytest.mark.parametrize("user_id", ["7", np.int64(7), np.str_("7")], ids=repr)
def test_the_learners_own_id_may_be_text(client: CountingClient, block: XBlock, user_id: Any) -> None:
    grade(block, 1, 2, user_id=user_id)
    assert score(client) == (1, 2)


@pytest.mark.parametrize("user_id", ["8", "07", " 7", "", "ada", 7.5, False], ids=repr)
def test_any_other_id_is_refused(client: CountingClient, block: XBlock, user_id: Any) -> None:
    with pytest.raises(PermissionDenied):
        grade(block, 1, 2, user_id=user_id)
    assert score(client) is None


def test_a_visitor_has_no_id_that_a_text_could_name(client: CountingClient) -> None:
    visitor = AnonymousUser()
    block = PageRuntime(UserStateKeyValueStore(client, visitor), visitor, IDS).get_block(KEY)
    with pytest.raises(PermissionDenied, match=r"id None.*user id None"):
        grade(block, 1, 2, user_id="None")

"""Scores beside the state, changed without changing it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV2

from tests.factories import make_block, make_blocks
from xblock_user_state.interface import BlockScore, XBlockUserStateClient

BLOCK = make_block()


def test_a_score_that_was_set_is_found(client: XBlockUserStateClient) -> None:
    before = datetime.now(UTC)
    client.set_score("ann", BLOCK, 3, 4)
    score = client.get_scores("ann", [BLOCK])[BLOCK]
    assert isinstance(score, BlockScore)
    assert (score.grade, score.max_grade) == (3.0, 4.0)
    assert isinstance(score.grade, float)
    assert before <= score.updated <= datetime.now(UTC)
    assert score.updated.utcoffset() == timedelta(0)


def test_scores_are_given_by_the_keys_asked_with_and_only_those_that_are_set(client: XBlockUserStateClient) -> None:
    keys = make_blocks(5)
    client.set_score("ann", keys[3], 3, 10)
    client.set_score("ann", keys[1], 0, 10)
    client.set("ann", keys[2], {"a": 1})
    client.set_score("bob", keys[4], 4, 10)
    found = client.get_scores("ann", iter(keys[::-1]))
    assert [(key, score.grade) for key, score in found.items()] == [(keys[3], 3.0), (keys[1], 0.0)]


@pytest.mark.not_for_visitors
@pytest.mark.parametrize(
    "grade",
    [
        0,
        1,
        -1,
        0.1,
        0.1 + 0.2,
        1 / 3,
        2**53 + 2,
        1e-300,
        sys.float_info.max,
        Decimal("0.25"),
        Fraction(1, 4),
        5e-324,
        True,
    ],
    ids=str,
)
def test_points_are_kept_exactly(client: XBlockUserStateClient, grade: float) -> None:
    client.set_score("ann", BLOCK, grade, 1e300)
    found = client.get_scores("ann", [BLOCK])[BLOCK]
    assert found.grade == float(grade)
    client.set_score("ann", BLOCK, grade, 1e300)
    assert client.get_scores("ann", [BLOCK])[BLOCK] == found
    assert len(list(client.get_history("ann", BLOCK))) == 1


def test_a_maximum_is_not_needed(client: XBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, None)
    assert client.get_scores("ann", [BLOCK])[BLOCK][:2] == (1.0, None)


@pytest.mark.not_for_visitors
def test_a_maximum_without_a_grade_is_kept(client: XBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, None, 5)
    assert client.get_scores("ann", [BLOCK])[BLOCK][:2] == (None, 5.0)
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 2, 5)
    client.set_score("ann", BLOCK, None, 6)
    assert client.get_scores("ann", [BLOCK])[BLOCK][:2] == (None, 6.0)
    client.set_score("ann", BLOCK, None, None)
    assert client.get_scores("ann", [BLOCK]) == {}
    scores = [entry.score and entry.score[:2] for entry in client.get_history("ann", BLOCK)]
    assert scores == [None, (None, 6), (2, 5), (None, 5), (None, 5)]


def test_a_score_tells_when_its_row_was_created(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    created = client.get("ann", BLOCK).updated
    client.set_score("ann", BLOCK, 1, 2)
    score = client.get_scores("ann", [BLOCK])[BLOCK]
    assert score.created == created < score.updated
    assert created.utcoffset() == timedelta(0)
    grade, max_grade, updated = score
    assert score == (grade, max_grade, updated)


@pytest.mark.not_for_visitors
def test_a_score_in_history_has_no_time_of_creation(client: XBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    [entry] = client.get_history("ann", BLOCK)
    assert entry.score is not None
    assert (entry.score.updated, entry.score.created) == (entry.updated, None)


def test_setting_a_score_returns_the_time_of_the_row(client: XBlockUserStateClient) -> None:
    def updated() -> datetime:
        return client.get_scores("ann", [BLOCK])[BLOCK].updated

    first = client.set_score("ann", BLOCK, 1, 2)
    assert first == updated()
    # Nothing changes.
    assert client.set_score("ann", BLOCK, 1, 2) == first == updated()
    second = client.set_score("ann", BLOCK, 2, 2)
    assert second == updated()
    assert first is not None
    assert second is not None
    assert first < second
    client.set("ann", BLOCK, {"a": 1})
    assert client.set_score("ann", BLOCK, 2, 2) == client.get("ann", BLOCK).updated


def test_there_is_no_time_without_a_row(client: XBlockUserStateClient) -> None:
    assert client.set_score("ann", BLOCK, None, None) is None
    client.set("ann", BLOCK, {"a": 1})
    assert client.set_score("ann", BLOCK, None, None) == client.get("ann", BLOCK).updated


def test_a_batch_returns_no_time(client: XBlockUserStateClient) -> None:
    with client.batch("ann") as batch:
        result: object = batch.set_score(BLOCK, None, 2)  # type: ignore[func-returns-value]
        assert result is None
    assert client.get_scores("ann", [BLOCK])[BLOCK][:2] == (None, 2)


@pytest.mark.not_for_visitors
def test_a_score_without_state_is_no_state(client: XBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    assert list(client.get_many("ann", [BLOCK])) == []
    assert list(client.iter_all_for_block(BLOCK)) == []
    client.set("ann", BLOCK, {"a": 1})
    assert client.get("ann", BLOCK).state == {"a": 1}


def test_a_score_leaves_state_alone_and_state_leaves_the_score_alone(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 2)
    client.set("ann", BLOCK, {"b": 2})
    client.set_score("ann", BLOCK, 2, 2)
    assert client.get("ann", BLOCK).state == {"a": 1, "b": 2}
    client.delete("ann", BLOCK)
    assert client.get_scores("ann", [BLOCK])[BLOCK][:2] == (2.0, 2.0)


def test_a_score_moves_the_time_of_the_state(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 2)
    assert client.get("ann", BLOCK).updated == client.get_scores("ann", [BLOCK])[BLOCK].updated


@pytest.mark.not_for_visitors
def test_a_score_can_be_taken_away(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 2)
    client.set_score("ann", BLOCK, None, None)
    assert client.get_scores("ann", [BLOCK]) == {}
    assert client.get("ann", BLOCK).state == {"a": 1}
    assert len(list(client.get_history("ann", BLOCK))) == 3
    client.set_score("ann", BLOCK, None, None)
    assert len(list(client.get_history("ann", BLOCK))) == 3


@pytest.mark.not_for_visitors
def test_the_maximum_alone_is_a_change(client: XBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    client.set_score("ann", BLOCK, 1, 4)
    assert client.get_scores("ann", [BLOCK])[BLOCK].max_grade == 4
    assert len(list(client.get_history("ann", BLOCK))) == 2


def test_an_aside_has_a_score_of_its_own(client: XBlockUserStateClient) -> None:
    aside = AsideUsageKeyV2(BLOCK, "notes")
    client.set_score("ann", BLOCK, 1, 2)
    client.set_score("ann", aside, 2, 3)
    assert {key: score.grade for key, score in client.get_scores("ann", [aside, BLOCK]).items()} == {BLOCK: 1, aside: 2}


def test_unknown_and_anonymous_learners_have_no_scores(client: XBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    for username in ("nobody", "", None):
        assert client.get_scores(username, [BLOCK]) == {}

"""Parts and samples of learners: disjoint, complete, and the same in each run."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from xblock_user_state.maintenance.shares import ALL_LEARNERS, Share, share_of

IDS = range(1, 5_001)
EXPECTED_PART = [10, 27, 33, 38]


def test_each_learner_is_in_exactly_one_part() -> None:
    parts = [{id_ for id_ in IDS if Share(part, 8).has(id_)} for part in range(1, 9)]
    assert sorted(id_ for part in parts for id_ in part) == [*IDS]
    assert all(500 < len(part) < 750 for part in parts)


def test_a_sample_of_a_part_is_a_part_of_the_sample() -> None:
    sample = {id_ for id_ in IDS if share_of(None, "10%").has(id_)}
    of_parts = [{id_ for id_ in IDS if share_of(f"{part}/4", "10%").has(id_)} for part in range(1, 5)]
    assert 400 < len(sample) < 600
    assert set.union(*of_parts) == sample
    assert all(80 < len(of_part) < 170 for of_part in of_parts)


def test_a_larger_sample_has_all_learners_of_a_smaller_one() -> None:
    small, large = share_of(None, "1%"), share_of(None, "2.5%")
    assert all(large.has(id_) for id_ in IDS if small.has(id_))


def test_a_share_never_changes() -> None:
    """Parts of one check may run with different versions of the package."""
    assert [id_ for id_ in range(1, 40) if Share(2, 8).has(id_)] == EXPECTED_PART
    assert Share(1, 2).has("ann") != Share(2, 2).has("ann")
    assert Share(1, 2).has(UUID(int=1)) == Share(1, 2).has(str(UUID(int=1)))


def test_all_learners() -> None:
    assert share_of(None, None) == ALL_LEARNERS == share_of("1/1", "100%")
    assert ALL_LEARNERS.is_all
    assert all(map(ALL_LEARNERS.has, IDS))


@pytest.mark.parametrize("part", ["0/8", "9/8", "2", "2/0", "-1/4", "a/b", "1/8x"])
def test_senseless_parts_are_refused(part: str) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(repr(part))} is not a part, such as 2/8"):
        share_of(part, None)


@pytest.mark.parametrize("sample", ["0%", "1", "101%", "%", "-1%", "a%"])
def test_senseless_samples_are_refused(sample: str) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(repr(sample))} is not a sample, such as 1%"):
        share_of(None, sample)

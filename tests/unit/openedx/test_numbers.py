"""The arithmetic of the numbers of rows."""

from __future__ import annotations

import pytest

from xblock_user_state.openedx.numbers.arithmetic import FIRST, MAX_BLOCK, MAX_STUDENT, Parts, number_of, parts_of


@pytest.mark.parametrize("parts", [(0, 1), (1, 1), (7, 99), (MAX_STUDENT, MAX_BLOCK), (12_345_678, MAX_BLOCK)])
def test_a_number_can_be_taken_apart(parts: tuple[int, int]) -> None:
    number = number_of(Parts(*parts))
    assert number is not None
    assert parts_of(number) == parts
    # JavaScript's numbers are these.
    assert int(float(number)) == number
    assert FIRST <= number < 2 * FIRST == 2**53


@pytest.mark.parametrize("parts", [(MAX_STUDENT + 1, 1), (1, MAX_BLOCK + 1), (-1, 1)])
def test_beyond_the_limits_there_is_no_number(parts: tuple[int, int]) -> None:
    assert number_of(Parts(*parts)) is None


@pytest.mark.parametrize("number", [0, 5, -1, FIRST - 1, 2 * FIRST, 2**63])
def test_other_integers_have_no_parts(number: int) -> None:
    assert parts_of(number) is None


def test_two_rows_never_share_a_number() -> None:
    parts = [Parts(student, block) for student in (0, 1, 2, MAX_STUDENT) for block in (0, 1, 2, MAX_BLOCK)]
    assert len({number_of(each) for each in parts}) == len(parts)

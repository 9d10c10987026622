"""Groups of bounded size."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from xblock_user_state.openedx.importing.grouping import grouped


@given(st.lists(st.integers(0, 12)), st.integers(1, 10))
def test_groups_keep_the_order_and_are_as_large_as_they_may_be(sizes: list[int], most: int) -> None:
    groups = list(grouped(sizes, int, most))
    assert [size for group in groups for size in group] == sizes
    assert all(len(group) == 1 or sum(group) <= most for group in groups)
    assert all(sum(group) + following[0] > most for group, following in pairwise(groups))

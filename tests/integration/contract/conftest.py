"""The clients that every test in this folder runs against: the contract is the same for all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import make_learners
from tests.visitors import NamedVisitors
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import XBlockUserStateClient
from xblock_user_state.memory import InMemoryXBlockUserStateClient

# What is told by history or iteration, which visitors do not have, by their names, or by what all learners share.
NOT_FOR_VISITORS = {
    "test_a_batch_for_an_anonymous_learner_is_refused_as_a_whole",
    "test_a_batch_for_what_is_new_changes_nothing_the_second_time",
    "test_a_batch_for_what_is_new_leaves_alone_what_is_there",
    "test_a_block_type_of_a_course_that_no_database_keeps_finds_nothing",
    "test_a_course_key_with_a_branch_names_the_course",
    "test_a_key_of_the_longest_length_is_kept_whole",
    "test_a_plain_block_type_is_the_xblock_familys",
    "test_a_score_can_be_taken_away",
    "test_a_score_without_state_is_no_state",
    "test_a_username_that_no_database_keeps_names_nobody",
    "test_all_changes_of_a_block_are_one",
    "test_an_old_style_key_belongs_to_the_run_it_is_mapped_into",
    "test_branch_and_version_do_not_count",
    "test_calls_on_the_client_do_not_join_a_batch",
    "test_changes_apply_in_the_order_of_their_calls",
    "test_changes_that_undo_each_other_change_nothing",
    "test_every_other_difference_between_keys_counts",
    "test_history_gives_the_same",
    "test_history_has_the_same_times_when_the_clock_goes_back",
    "test_history_is_the_callers_own",
    "test_iteration_gives_the_canonical_key_in_its_context",
    "test_learners_have_their_own_state",
    "test_nothing_is_committed_if_the_body_raises",
    "test_nothing_of_others_is_found",
    "test_points_are_kept_exactly",
    "test_reads_do_not_see_a_batch_before_it_ends",
    "test_reads_give_back_the_key_asked_with",
    "test_setting_nothing_does_not_bring_state_into_being",
    "test_the_family_of_a_block_type_counts",
    "test_the_maximum_alone_is_a_change",
    "test_the_type_of_an_aside_is_its_blocks",
    "test_two_keys_of_one_block_in_one_call_are_overlaid_in_their_order",
    "test_what_goes_in_comes_out",
    "test_what_is_handed_out_is_the_callers_own",
    "test_what_iteration_gives_can_be_read_with",
    "test_writing_what_was_read_is_no_change",
}
FILES_NOT_FOR_VISITORS = {"test_anonymous_users", "test_history", "test_iteration"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test the clients that it applies to, where its module has no client of its own."""
    if "clients_name" not in metafunc.fixturenames:
        return
    clients = [pytest.param("django", marks=pytest.mark.django_db), "memory"]
    module = metafunc.module.__name__.rpartition(".")[2]
    if module not in FILES_NOT_FOR_VISITORS and metafunc.function.__name__ not in NOT_FOR_VISITORS:
        clients.append("visitors")
    metafunc.parametrize("clients_name", clients)


@pytest.fixture
def client(clients_name: str) -> XBlockUserStateClient:
    """A client that knows the learners ann, bob and cid, and records the history of problems only."""
    if clients_name == "visitors":
        return NamedVisitors()
    if clients_name == "memory":
        return InMemoryXBlockUserStateClient()
    make_learners("ann", "bob", "cid")
    return DjangoXBlockUserStateClient()


@pytest.fixture
def statements(client: XBlockUserStateClient) -> Callable[[], AbstractContextManager[object]]:
    """What to enter so that the result, where it has a length, counts the SQL statements meanwhile."""
    if isinstance(client, DjangoXBlockUserStateClient):
        return lambda: CaptureQueriesContext(connection)
    return lambda: nullcontext([])

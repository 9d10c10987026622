"""A read-only store: crawlers and previews leave no trace, and dropped writes are counted."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import override_settings

from tests.blocks import ASIDE_TYPE, PageRuntime, make_page
from tests.counting import CountingClient
from tests.factories import ADA
from tests.sinks import Measurements, keeping_sink
from xblock_user_state.runtime import UserStateKeyValueStore

IDS, [QUIZ, POLL] = make_page("quiz", "poll")


def test_blocks_see_what_they_wrote_and_nothing_is_kept(client: CountingClient) -> None:
    client.set("ada", QUIZ, {"attempts": 3, "seed": 2})
    kvs = UserStateKeyValueStore(client, ADA, read_only=True)
    runtime = PageRuntime(kvs, ADA, IDS)
    runtime.submit(QUIZ, "red")
    del runtime.get_block(QUIZ).seed
    runtime.submit(QUIZ, "a note", ASIDE_TYPE)
    block = runtime.get_block(QUIZ)
    assert (block.attempts, block.answers, block.seed) == (4, {"1": "red"}, None)
    assert runtime.get_aside_of_type(block, ASIDE_TYPE).note == "a note"
    assert client.commits == 0
    assert client.get("ada", QUIZ).state == {"attempts": 3, "seed": 2}
    assert client.get_scores("ada", [QUIZ]) == {}


def test_the_next_request_sees_nothing_of_it(client: CountingClient) -> None:
    PageRuntime(UserStateKeyValueStore(client, ADA, read_only=True), ADA, IDS).submit(QUIZ, "red")
    assert PageRuntime(UserStateKeyValueStore(client, ADA), ADA, IDS).get_block(QUIZ).attempts == 0


def test_dropped_writes_are_counted_by_rows(client: CountingClient) -> None:
    kvs = UserStateKeyValueStore(client, ADA, read_only=True)
    runtime = PageRuntime(kvs, ADA, IDS)
    measured = Measurements()
    with override_settings(XBLOCK_USER_STATE={"METRICS": keeping_sink(measured)}):
        with kvs.unit_of_work():
            runtime.submit(QUIZ, "red")
            runtime.submit(QUIZ, "blue")
            runtime.submit(POLL, "red")
        runtime.submit(POLL, "blue")
    # An answer with its score is one row; a poll has a row of the learner's and one that all learners share.
    assert kvs.dropped_writes == 3 + 2
    assert measured.total("runtime.dropped_writes", scope="user_state") == 3
    assert measured.total("runtime.dropped_writes", scope="user_state_summary") == 2


def test_a_store_that_writes_drops_nothing(client: CountingClient) -> None:
    kvs = UserStateKeyValueStore(client, ADA)
    PageRuntime(kvs, ADA, IDS).submit(QUIZ, "red")
    assert kvs.dropped_writes == 0


def test_a_crawler_needs_no_account(client: CountingClient) -> None:
    nobody = AnonymousUser()
    runtime = PageRuntime(UserStateKeyValueStore(client, nobody, read_only=True), nobody, IDS)
    runtime.get_block(QUIZ).render("student_view")
    assert runtime.get_block(QUIZ).seed == 7


def test_writes_go_to_one_place_or_to_none(client: CountingClient) -> None:
    with pytest.raises(ValueError, match="one of the two"):
        UserStateKeyValueStore(client, ADA, read_only=True, session={})

"""Staff act as a learner: reads show the learner's state, and writes stay in the staff member's session."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.signed_cookies import SessionStore
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from tests.blocks import ASIDE_TYPE, PageRuntime, make_page
from tests.counting import CountingClient
from tests.factories import ADA, BEN
from xblock_user_state.runtime import UserStateKeyValueStore, clear_masquerade

IDS, [QUIZ, POLL, VIDEO] = make_page("quiz", "poll", "video")
ANSWERED = {"attempts": 3, "answers": {"1": "blue"}, "seed": 2}


class Staff:
    """A staff member whose requests share a session, saved after each change, as Django keeps it in a cookie."""

    def __init__(self) -> None:
        self.session = SessionStore()

    def act_as(self, learner: User, client: CountingClient) -> PageRuntime:
        """Return the runtime of a new request."""
        if self.session.modified:
            self.session.save()
        self.session = SessionStore(self.session.session_key)
        return PageRuntime(UserStateKeyValueStore(client, learner, session=self.session), learner, IDS)


@pytest.fixture
def client() -> CountingClient:
    """A client with states of ada."""
    client = CountingClient()
    client.set("ada", QUIZ, ANSWERED)
    client.set("ada", POLL, {"votes": {"red": 1}}, Scope.user_state_summary)
    return client


@pytest.fixture
def staff() -> Staff:
    return Staff()


def as_stored(client: CountingClient) -> list[Any]:
    scopes: list[tuple[Scope, Any]] = [
        (Scope.user_state, QUIZ),
        (Scope.user_state_summary, POLL),
        (Scope.preferences, "video"),
        (Scope.user_info, None),
    ]
    return [client.get_encoded("ada", [key], scope) for scope, key in scopes]


def test_reads_show_the_learners_state(client: CountingClient, staff: Staff) -> None:
    block = staff.act_as(ADA, client).get_block(QUIZ)
    assert (block.attempts, block.answers) == (3, {"1": "blue"})


def test_what_staff_do_is_there_at_their_next_request_and_nowhere_else(client: CountingClient, staff: Staff) -> None:
    before = as_stored(client)
    runtime = staff.act_as(ADA, client)
    with runtime.learner_state.unit_of_work():
        runtime.submit(QUIZ, "red")
        runtime.submit(QUIZ, "a note", ASIDE_TYPE)
        runtime.submit(POLL, "red")
    video = runtime.get_block(VIDEO)
    video.position, video.speed, video.language = 60, 2, "is"
    video.save()

    again = staff.act_as(ADA, client)
    quiz, poll, video = map(again.get_block, (QUIZ, POLL, VIDEO))
    assert (quiz.attempts, quiz.answers, quiz.seed) == (4, {"1": "red"}, 2)
    assert again.get_aside_of_type(quiz, ASIDE_TYPE).note == "a note"
    assert (poll.choice, poll.votes) == ("red", {"red": 2})
    assert (video.position, video.speed, video.language) == (60, 2, "is")

    assert client.commits == 0
    assert as_stored(client) == before
    assert client.get_scores("ada", [QUIZ]) == {}
    assert PageRuntime(UserStateKeyValueStore(client, ADA), ADA, IDS).get_block(QUIZ).attempts == 3


def test_a_field_that_staff_have_deleted_stays_so_for_them(client: CountingClient, staff: Staff) -> None:
    del staff.act_as(ADA, client).get_block(QUIZ).attempts
    assert staff.act_as(ADA, client).get_block(QUIZ).attempts == 0
    assert client.get("ada", QUIZ).state == ANSWERED


def test_what_staff_do_in_several_requests_adds_up(client: CountingClient, staff: Staff) -> None:
    del staff.act_as(ADA, client).get_block(QUIZ).attempts
    block = staff.act_as(ADA, client).get_block(QUIZ)
    block.seed = 9
    block.save()
    block = staff.act_as(ADA, client).get_block(QUIZ)
    assert (block.attempts, block.seed, block.answers) == (0, 9, {"1": "blue"})


def test_fields_of_one_name_in_two_scopes_are_two(client: CountingClient, staff: Staff) -> None:
    own = KeyValueStore.Key(Scope.user_state, ADA.id, QUIZ, "color", "xblock.v1")
    shared = KeyValueStore.Key(Scope.user_state_summary, None, QUIZ, "color", "xblock.v1")
    staff.act_as(ADA, client).learner_state.set_many({own: "red", shared: "blue"})
    kvs = staff.act_as(ADA, client).learner_state
    assert (kvs.get(own), kvs.get(shared)) == ("red", "blue")


def test_what_the_learner_does_meanwhile_shows_through(client: CountingClient, staff: Staff) -> None:
    staff.act_as(ADA, client).submit(QUIZ, "red")
    client.set("ada", QUIZ, {"seed": 5, "attempts": 9})
    block = staff.act_as(ADA, client).get_block(QUIZ)
    assert (block.seed, block.attempts) == (5, 4)


def test_prefetch_leaves_what_staff_did_on_top(client: CountingClient, staff: Staff) -> None:
    staff.act_as(ADA, client).submit(QUIZ, "red")
    runtime = staff.act_as(ADA, client)
    runtime.learner_state.prefetch([runtime.get_block(QUIZ)])
    assert runtime.get_block(QUIZ).attempts == 4


@pytest.mark.parametrize("value", [float("inf"), 10**400, "\ud800\0"])
def test_values_survive_the_session(client: CountingClient, staff: Staff, value: Any) -> None:
    block = staff.act_as(ADA, client).get_block(QUIZ)
    block.answers = {"1": value}
    block.save()
    assert staff.act_as(ADA, client).get_block(QUIZ).answers == {"1": value}


def test_learners_are_apart(client: CountingClient, staff: Staff) -> None:
    staff.act_as(ADA, client).submit(QUIZ, "red")
    staff.act_as(BEN, client).submit(QUIZ, "green")
    assert staff.act_as(ADA, client).get_block(QUIZ).answers == {"1": "red"}
    assert staff.act_as(BEN, client).get_block(QUIZ).answers == {"1": "green"}


def test_an_exception_keeps_none(client: CountingClient, staff: Staff) -> None:
    runtime = staff.act_as(ADA, client)

    def work() -> None:
        with runtime.learner_state.unit_of_work():
            runtime.submit(QUIZ, "red")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert staff.act_as(ADA, client).get_block(QUIZ).attempts == 3


def test_one_learner_is_cleared_or_all(client: CountingClient, staff: Staff) -> None:
    for learner in (ADA, BEN):
        staff.act_as(learner, client).submit(QUIZ, "red")
    clear_masquerade(staff.session, ADA)
    assert staff.act_as(ADA, client).get_block(QUIZ).attempts == 3
    assert staff.act_as(BEN, client).get_block(QUIZ).attempts == 1
    clear_masquerade(staff.session)
    assert staff.act_as(BEN, client).get_block(QUIZ).attempts == 0
    clear_masquerade(staff.session)
    assert not staff.session.keys()

"""The client and the store of a request: every user may view blocks that write when they are first shown."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase

from tests.blocks import PageRuntime, make_page
from tests.factories import make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.ephemeral import EphemeralXBlockUserStateClient
from xblock_user_state.hosting import anonymous_id_for, client_for, store_for
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.models import StudentModule
from xblock_user_state.runtime import GradeGuard

pytestmark = pytest.mark.django_db

IDS, [QUIZ] = make_page("quiz")


@pytest.fixture
def ada() -> User:
    return make_learners("ada")[0]


@pytest.fixture
def session() -> SessionBase:
    store: SessionBase = import_module(django_settings.SESSION_ENGINE).SessionStore()
    return store


def view(user: Any, session: SessionBase | None = None, *, learner: Any = None, **options: Any) -> PageRuntime:
    """View the quiz, which chooses a seed at a first view, and answer it."""
    store = store_for(user, session, **options)
    runtime = PageRuntime(store, learner or user, IDS)
    with store.unit_of_work():
        runtime.get_block(QUIZ).render("student_view")
        runtime.submit(QUIZ, "red")
    return runtime


def attempts(client: Any, username: str) -> list[int]:
    return [found.state["attempts"] for found in client.get_many(username, [QUIZ])]


def test_an_account_writes_to_the_database(ada: User, session: SessionBase) -> None:
    view(ada, session)
    view(ada)
    assert attempts(DjangoXBlockUserStateClient(ada), "ada") == [2]
    assert session.is_empty()


def test_a_visitor_writes_to_the_cache_of_the_session(session: SessionBase) -> None:
    for _ in range(2):
        view(AnonymousUser(), session)
    client = client_for(AnonymousUser(), session)
    assert isinstance(client, EphemeralXBlockUserStateClient)
    assert attempts(client, "") == [2]
    assert not StudentModule.objects.exists()


def test_a_visitor_without_a_session_views_blocks_that_write() -> None:
    runtime = view(AnonymousUser())
    assert runtime.get_block(QUIZ).attempts == 1
    assert runtime.learner_state.dropped_writes == 1
    assert attempts(client_for(AnonymousUser()), "") == []


def test_a_client_without_a_session_reads_only() -> None:
    with pytest.raises(PermissionDenied):
        client_for(AnonymousUser()).set("", QUIZ, {"attempts": 1})


def test_crawlers_leave_no_trace(ada: User, session: SessionBase) -> None:
    for user in (ada, AnonymousUser()):
        assert view(user, session, read_only=True).learner_state.dropped_writes == 1
    assert session.is_empty()
    assert attempts(client_for(ada), "ada") == []


def test_staff_write_as_a_learner_in_their_session_only(ada: User, session: SessionBase) -> None:
    [staff] = make_learners("staff")
    view(ada)
    for number in (2, 3):
        assert view(staff, session, viewed_as=ada, learner=ada).get_block(QUIZ).attempts == number
    assert attempts(client_for(ada), "ada") == [1]
    assert not session.is_empty()


def test_staff_without_a_session_can_not_write_as_a_learner(ada: User) -> None:
    [staff] = make_learners("staff")
    with pytest.raises(ValueError, match="viewed_as needs the session"):
        store_for(staff, viewed_as=ada)
    assert view(staff, viewed_as=ada, read_only=True, learner=ada).learner_state.dropped_writes == 1
    assert attempts(client_for(ada), "ada") == []


def test_the_host_chooses_the_guard(ada: User) -> None:
    view(ada, grade_guard=GradeGuard(ungraded_handlers=["submit"]))
    assert client_for(ada).get_scores("ada", [QUIZ]) == {}
    view(ada)
    assert client_for(ada).get_scores("ada", [QUIZ])[QUIZ].grade == 1


def test_anonymous_ids_are_stable_and_different(ada: User, session: SessionBase) -> None:
    [ben] = make_learners("ben")
    visitor = AnonymousUser()
    ids = [anonymous_id_for(user, session) for user in (ada, ben, visitor)] + [anonymous_id_for(visitor)]
    assert len(set(ids)) == 4
    assert ids == [anonymous_id_for(user, session) for user in (ada, ben, visitor)] + [anonymous_id_for(visitor)]
    assert anonymous_id_for(ada) == ids[0]


def test_anonymous_ids_depend_on_the_secret_key(ada: User, settings: Any) -> None:
    before = anonymous_id_for(ada)
    settings.SECRET_KEY = "another"
    assert anonymous_id_for(ada) != before

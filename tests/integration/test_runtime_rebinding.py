"""Blocks that are rebound to another learner, on the database: one commit and one revision for each learner."""

from __future__ import annotations

import json
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from oauthlib.oauth1 import Client
from webob import Request, Response
from xblock.field_data import DictFieldData
from xblock.fields import Scope

from tests.blocks import PageRuntime, make_page
from tests.factories import make_block, make_learners
from tests.integration.rows import assert_history_is_gapless
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.hosting import anonymous_id_for, store_for
from xblock_user_state.interface import PermissionDenied, ServiceUnavailable
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.runtime import (
    CurrentUserService,
    OpenEdXBlockMixin,
    UserStateKeyValueStore,
    UserStateRuntime,
    run_guarded,
)

pytestmark = pytest.mark.django_db(transaction=True)

IDS, [TOOL] = make_page("tool")
LTI = make_block("lti", "lti")
NOBODY = AnonymousUser()
LIS = "http://purl.imsglobal.org/ctx/lis/v2"


@pytest.fixture
def session() -> SessionBase:
    store: SessionBase = import_module(django_settings.SESSION_ENGINE).SessionStore()
    return store


def receive(store: UserStateKeyValueStore, user: Any, learner: Any) -> None:
    """Let the tool take a result for `learner` in a request of `user`."""
    with store.unit_of_work(guarded=True):
        PageRuntime(store, user, IDS).get_block(TOOL).receive(learner, 4)


def state_of(user: User, scope: Scope = Scope.user_state) -> Any:
    return [found.state for found in DjangoXBlockUserStateClient(user).get_many(user.username, [TOOL], scope)]


def test_both_learners_have_one_revision_with_history() -> None:
    ada, ben = make_learners("ada", "ben")
    receive(store_for(ada), ada, ben)
    assert state_of(ada) == [{"calls": 1}]
    assert state_of(ben) == [{"result": 4}]
    assert state_of(ben, Scope.user_state_summary) == [{"total": 4}]
    rows = StudentModule.objects.order_by("student__username").values_list("student__username", "revision", "grade")
    assert list(rows) == [("ada", 1, None), ("ben", 1, 4)]
    assert_history_is_gapless()


@pytest.mark.parametrize("has_session", [True, False])
def test_a_visitors_request_saves_for_an_account(session: SessionBase, has_session: bool) -> None:
    [ben] = make_learners("ben")
    receive(store_for(NOBODY, session if has_session else None), NOBODY, ben)
    assert state_of(ben) == [{"result": 4}]
    assert StudentModule.objects.get().grade == 4


@pytest.mark.parametrize("option", ["read_only", "viewed_as"])
def test_crawlers_and_masquerades_save_for_no_account(session: SessionBase, option: str) -> None:
    ada, ben, grace = make_learners("ada", "ben", "grace")
    options: dict[str, Any] = {"read_only": True} if option == "read_only" else {"viewed_as": ada}
    receive(store_for(grace, session, **options), ada if option == "viewed_as" else grace, ben)
    assert not StudentModule.objects.exists()


def actors_of(user: User) -> list[Any]:
    return list(StudentModuleHistory.objects.filter(student=user).values_list("actor__username", flat=True))


def test_the_actor_is_the_user_of_the_request(settings: Any) -> None:
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "RECORDED_BLOCK_TYPES": "*"}
    ada, ben = make_learners("ada", "ben")
    receive(store_for(ada), ada, ben)
    assert actors_of(ben) == actors_of(ada) == ["ada"]


def test_the_actor_in_a_visitors_request_is_the_learner(settings: Any, session: SessionBase) -> None:
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "RECORDED_BLOCK_TYPES": "*"}
    [ben] = make_learners("ben")
    receive(store_for(NOBODY, session), NOBODY, ben)
    assert actors_of(ben) == ["ben"]


def test_a_row_of_all_learners_is_written_once_for_several_learners() -> None:
    ada, ben, cleo = make_learners("ada", "ben", "cleo")

    def work() -> None:
        store = store_for(ada)
        with store.unit_of_work(guarded=True):
            block = PageRuntime(store, ada, IDS).get_block(TOOL)
            block.total += 1
            block.receive(ben, 4)
            block.receive(cleo, 5)

    for _ in range(2):
        run_guarded(work)
    shared = DjangoXBlockUserStateClient().get(None, TOOL, Scope.user_state_summary)
    assert (shared.state, shared.revision) == ({"total": 20}, 2)
    assert [state_of(user) for user in (ben, cleo)] == [[{"calls": 2, "result": 4}], [{"result": 5}]]
    assert_history_is_gapless()


def test_a_visitors_request_counts_for_several_accounts(session: SessionBase) -> None:
    ben, cleo = make_learners("ben", "cleo")
    store = store_for(NOBODY, session)
    with store.unit_of_work(guarded=True):
        runtime = PageRuntime(store, NOBODY, IDS)
        for learner in (ben, cleo):
            runtime.get_block(TOOL).receive(learner, 4)
    assert state_of(ben, Scope.user_state_summary) == [{"total": 8}]
    # The visitor has changed nothing that is shared.
    assert store_for(NOBODY, session).client.get(None, TOOL, Scope.user_state_summary).state == {"total": 8}


def test_nobody_can_be_bound_to_a_learner_without_an_account() -> None:
    [ada] = make_learners("ada")
    with pytest.raises(PermissionDenied):
        receive(store_for(ada), ada, NOBODY)
    assert not StudentModule.objects.exists()


def contested(ada: User, ben: User, row_of: str) -> int:
    """Let the tool take a result, while another request wins the row of one of the two; return the attempts."""
    attempts = []

    def work() -> None:
        attempts.append(1)
        store = store_for(ada)
        with store.unit_of_work(guarded=True):
            PageRuntime(store, ada, IDS).get_block(TOOL).receive(ben, 4)
            if len(attempts) == 1:
                DjangoXBlockUserStateClient().set(row_of, TOOL, {"other": 1})

    run_guarded(work)
    return len(attempts)


def test_a_conflict_of_the_other_learner_is_repeated() -> None:
    ada, ben = make_learners("ada", "ben")
    assert contested(ada, ben, "ben") == 2
    assert state_of(ada) == [{"calls": 1}]
    assert state_of(ben) == [{"other": 1, "result": 4}]
    assert_history_is_gapless()


def test_the_other_learners_commit_stays_where_the_requests_own_fails() -> None:
    ada, ben = make_learners("ada", "ben")
    with pytest.raises(ServiceUnavailable, match="'ada' were not saved"):
        contested(ada, ben, "ada")
    assert state_of(ada) == [{"other": 1}]
    assert state_of(ben) == [{"result": 4}]
    assert_history_is_gapless()


class LtiRuntime(UserStateRuntime):
    """A host of blocks for LTI, which read the tool's key and secret from their course."""

    passport = "tool:key:secret"

    @property
    def modulestore(self) -> Any:
        return SimpleNamespace(get_course=lambda _key: SimpleNamespace(lti_passports=[self.passport]))

    def handler_url(self, _block: Any, handler_name: str, suffix: str = "", *_more: Any, **_options: Any) -> str:
        return f"http://host.example/{handler_name}/{suffix}"

    resource_url = local_resource_url = handler_url


def put(learner: User, **result: Any) -> Response:
    """Send a result as the tool's server does: signed, and without a session."""
    suffix = f"user/{anonymous_id_for(learner)}"
    body = json.dumps({"@context": f"{LIS}/Result", "@type": "Result", **result})
    url, headers, _ = Client("key", "secret").sign(
        f"http://host.example/lti_2_0_result_rest_handler/{suffix}",
        "PUT",
        body,
        {"Content-Type": "application/vnd.ims.lis.v2.result+json"},
    )
    request = Request.blank(url, method="PUT", body=body.encode(), headers=headers)

    def work() -> Response:
        users = {anonymous_id_for(user): user for user in User.objects.all()}
        runtime = LtiRuntime(
            DictFieldData({"has_score": True, "lti_id": "tool"}),
            store_for(NOBODY),
            services={"user": CurrentUserService(NOBODY, user_of=users.get)},
            mixins=(OpenEdXBlockMixin,),
        )
        return runtime.run_handler(LTI, "lti_2_0_result_rest_handler", request, suffix)

    return run_guarded(work)


def history_of(learner: User) -> list[tuple[Any, float | None]]:
    entries = DjangoXBlockUserStateClient(learner).get_history(learner.username, LTI)
    return [(entry.state, entry.score.grade if entry.score else None) for entry in entries]


def test_a_result_by_lti_is_one_change_of_the_learner(settings: Any) -> None:
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "RECORDED_BLOCK_TYPES": "*"}
    ada, _ben = make_learners("ada", "ben")
    assert put(ada, resultScore=0.5, comment="good").status_int == 200
    kept = {"module_score": 0.5, "score_comment": "good"}
    assert history_of(ada) == [(kept, 0.5)]
    # A result without a score takes it back.
    assert put(ada).status_int == 200
    assert history_of(ada) == [({"module_score": None, "score_comment": ""}, None), (kept, 0.5)]
    assert StudentModule.objects.count() == 1


def test_a_result_with_a_wrong_signature_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    [ada] = make_learners("ada")
    monkeypatch.setattr(LtiRuntime, "passport", "tool:key:another")
    assert put(ada, resultScore=0.5).status_int == 401
    assert not StudentModule.objects.exists()

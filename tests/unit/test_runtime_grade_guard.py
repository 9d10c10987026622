"""The guard of `publish`: no learner's browser decides a score."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from webob import Request
from xblock.core import XBlock

from tests.blocks import GameBlock, PageRuntime, TextBlock, make_page
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import GradeGuard, UserStateKeyValueStore

ADA = User(id=7, username="ada")
IDS, [GAME, TEXT] = make_page("game", "text")
FULL = {"value": 1, "max_value": 1}


@pytest.fixture
def client() -> InMemoryXBlockUserStateClient:
    return InMemoryXBlockUserStateClient()


def runtime_over(client: InMemoryXBlockUserStateClient, **options: Any) -> PageRuntime:
    return PageRuntime(UserStateKeyValueStore(client, ADA, **options), ADA, IDS)


def post(runtime: PageRuntime, handler: str, data: object) -> int:
    """Call a handler of the game as its page does; return the status of the answer."""
    request = Request.blank("/", method="POST", body=json.dumps(data).encode())
    with runtime.learner_state.unit_of_work():
        status: int = runtime.handle(runtime.get_block(GAME), handler, request).status_int
    return status


def scores(client: InMemoryXBlockUserStateClient) -> dict[Any, float | None]:
    return {key: score.grade for key, score in client.get_scores("ada", [GAME, TEXT]).items()}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "xblock_user_state.runtime"]


def test_a_grade_that_the_page_sends_is_refused(
    client: InMemoryXBlockUserStateClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert post(runtime_over(client), "publish_event", {"event_type": "grade", **FULL}) == 200
    assert scores(client) == {}
    [warning] = warnings(caplog)
    assert str(GAME) in warning
    assert "'publish_event'" in warning


@pytest.mark.parametrize("more", [{"user_id": 8}, {"user_id": [8]}, {"value": None}, {"max_value": "x"}], ids=repr)
def test_no_event_of_the_page_is_an_error(client: InMemoryXBlockUserStateClient, more: dict[str, Any]) -> None:
    assert post(runtime_over(client), "publish_event", {"event_type": "grade", **FULL, **more}) == 200
    assert scores(client) == {}


@pytest.mark.parametrize("data", [None, [], 1, "grade", {}, {**FULL, "value": float("nan")}], ids=repr)
def test_a_malformed_event_in_another_handler_is_no_error_either(
    client: InMemoryXBlockUserStateClient, caplog: pytest.LogCaptureFixture, data: Any
) -> None:
    assert post(runtime_over(client), "win", data) == 200
    assert scores(client) == {}
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("handler", ["win", "of_no_name"])
def test_other_handlers_publish_grades(
    client: InMemoryXBlockUserStateClient, caplog: pytest.LogCaptureFixture, handler: str
) -> None:
    assert post(runtime_over(client), handler, FULL) == 200
    assert scores(client) == {GAME: 1}
    assert warnings(caplog) == []


def test_the_store_allows_grades_again_after_the_handler(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_over(client)
    post(runtime, "publish_event", {"event_type": "grade", **FULL})
    post(runtime, "win", FULL)
    assert scores(client) == {GAME: 1}


def test_a_handler_that_fails_is_not_remembered(client: InMemoryXBlockUserStateClient) -> None:
    store = UserStateKeyValueStore(client, ADA)
    with pytest.raises(ZeroDivisionError), store.handling("publish_event"):
        _ = 1 / 0
    runtime = PageRuntime(store, ADA, IDS)
    runtime.publish(runtime.get_block(GAME), "grade", FULL)
    assert scores(client) == {GAME: 1}


def test_a_handler_inside_of_a_refused_one_publishes_no_grade(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_over(client)
    with runtime.learner_state.handling("publish_event"):
        post(runtime, "win", FULL)
    assert scores(client) == {}


def test_the_host_lists_the_handlers(client: InMemoryXBlockUserStateClient) -> None:
    guard = GradeGuard(ungraded_handlers=["publish_event", "publish_events"])
    post(runtime_over(client, grade_guard=guard), "publish_events", [FULL])
    post(runtime_over(client, grade_guard=guard), "publish_event", {"event_type": "grade", **FULL})
    assert scores(client) == {}
    post(runtime_over(client), "publish_events", [FULL])
    assert scores(client) == {GAME: 1}


def test_one_name_is_no_list_of_names() -> None:
    with pytest.raises(TypeError, match="ungraded_handlers must be a list of names, not 'publish_event'"):
        GradeGuard(ungraded_handlers="publish_event")


@pytest.mark.parametrize("has_score", [False, None, 0])
def test_a_block_without_has_score_has_no_grade(
    client: InMemoryXBlockUserStateClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    has_score: object,
) -> None:
    monkeypatch.setattr(GameBlock, "has_score", has_score)
    assert post(runtime_over(client), "win", FULL) == 200
    assert scores(client) == {}
    [warning] = warnings(caplog)
    assert "has_score" in warning


def test_a_block_that_declares_nothing_has_no_grade(client: InMemoryXBlockUserStateClient) -> None:
    assert not hasattr(TextBlock, "has_score")
    runtime = runtime_over(client)
    runtime.publish(runtime.get_block(TEXT), "grade", FULL)
    assert scores(client) == {}


def test_a_host_may_do_without_the_guard(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_over(client, grade_guard=GradeGuard(ungraded_handlers=(), needs_has_score=False))
    runtime.publish(runtime.get_block(TEXT), "grade", FULL)
    post(runtime, "publish_event", {"event_type": "grade", **FULL})
    assert scores(client) == {TEXT: 1, GAME: 1}


def test_other_events_need_no_has_score(
    client: InMemoryXBlockUserStateClient, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = runtime_over(client)
    block: XBlock = runtime.get_block(TEXT)
    runtime.publish(block, "completion", {"completion": 1})
    assert warnings(caplog) == []

"""The access log has one line for each request, and nothing that must not be in a log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from opaque_keys.edx.keys import LearningContextKey
from pytest_django import Settings

from tests.policies import Asked
from tests.sinks import Measurements, keeping_sink
from xblock_user_state.access import Action
from xblock_user_state.service.access_log import View, access_of, logged

COURSES = [LearningContextKey.from_string(f"course-v1:Sky+Astro101+{year}") for year in range(2021, 2027)]
SECRET = "eyJ.a-token.signature"


@pytest.fixture(autouse=True)
def _logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "xblock_user_state.service")


def get(view: View, **headers: str) -> HttpResponseBase:
    headers |= {"Authorization": f"Bearer {SECRET}"}
    return logged(view, "get_many")(RequestFactory().get(f"/learners/ben/?state={SECRET}", headers=headers))


def asking(*questions: tuple[Action, LearningContextKey | None], status: int = 200) -> View:
    def view(request: HttpRequest) -> HttpResponse:
        access = access_of(request)
        access.actor = "ada"
        policy = access.noting(Asked())
        for action, context_key in questions:
            policy.may("ada", action, "ben", context_key, None)
        return HttpResponse("{}", status=status)

    return view


def line(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = caplog.records
    return record.getMessage().rpartition(" ms=")[0]


def test_a_line_has_actor_acts_contexts_and_outcome(caplog: pytest.LogCaptureFixture) -> None:
    view = asking((Action.READ, COURSES[0]), (Action.READ, COURSES[0]), (Action.SEE_HISTORY, None), status=403)
    answer = get(view, **{"X-Request-ID": "from-the-proxy"})
    assert answer.headers["X-Request-ID"] == "from-the-proxy"
    acts = f"actor='ada' act=read,see_history context={COURSES[0]}"
    assert line(caplog) == f"request=from-the-proxy {acts} endpoint=get_many outcome=403"


def test_a_line_is_short(caplog: pytest.LogCaptureFixture) -> None:
    get(asking(*((Action.READ, key) for key in COURSES)))
    assert f"context={','.join(map(str, COURSES[:3]))},+3 " in line(caplog)


def test_a_line_has_no_path_no_header_and_no_learner(caplog: pytest.LogCaptureFixture) -> None:
    get(asking((Action.READ, COURSES[0])))
    assert SECRET not in caplog.text
    assert "ben" not in caplog.text


@pytest.mark.parametrize("given", ["two\nlines", "a b", "x" * 65, "", "é"])
def test_an_id_that_could_forge_a_line_is_replaced(caplog: pytest.LogCaptureFixture, given: str) -> None:
    answer = get(asking(), **{"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] != given
    assert f"request={answer.headers['X-Request-ID']} actor='ada' act=- context=- " in line(caplog)


def streaming(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter(["one\n", "two\n"]))


def test_a_stream_is_logged_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    answer = get(streaming)
    assert not caplog.records
    assert isinstance(answer, StreamingHttpResponse)
    assert answer.getvalue() == b"one\ntwo\n"
    answer.close()
    assert line(caplog).endswith("outcome=200")


def test_a_stream_that_the_caller_leaves_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    answer = get(streaming)
    content: Iterator[bytes] = iter(answer)
    assert next(content) == b"one\n"
    answer.close()
    assert line(caplog).endswith("outcome=200-cut")


async def parts() -> AsyncIterator[str]:
    for part in ("one\n", "two\n"):
        yield part


async def read(answer: StreamingHttpResponse, most: int) -> list[bytes]:
    found: list[bytes] = []
    async for part in answer:
        found.append(part)
        if len(found) == most:
            break
    return found


@pytest.mark.parametrize(("most", "outcome"), [(9, "200"), (1, "200-cut")])
def test_a_stream_under_asgi_is_logged_alike(caplog: pytest.LogCaptureFixture, most: int, outcome: str) -> None:
    answer = get(lambda request: StreamingHttpResponse(parts()))
    assert isinstance(answer, StreamingHttpResponse)
    assert asyncio.run(read(answer, most)) == [b"one\n", b"two\n"][:most]
    answer.close()
    assert line(caplog).endswith(f"outcome={outcome}")


def failing(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a fault of ours")


def test_a_fault_is_logged_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuntimeError):
        get(failing)
    assert line(caplog).endswith("actor=- act=- context=- endpoint=get_many outcome=500")


def test_requests_are_counted(settings: Settings) -> None:
    measured = Measurements()
    settings.XBLOCK_USER_STATE = {"METRICS": keeping_sink(measured)}
    get(asking(status=429))
    assert measured.values("service.requests", endpoint="get_many", outcome="429") == [1]
    assert len(measured.values("service.response_time", endpoint="get_many")) == 1

"""The frame around each call: deadlines, compression, limits of size, and a problem for every error."""

from __future__ import annotations

import gzip
import time
from io import BytesIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIRequest
from django.db import OperationalError, connection
from django.http import HttpRequest
from django.test import Client
from xblock.fields import Scope

from tests.factories import make_block
from tests.integration.service.conftest import Caller, content_of, problem_in
from xblock_user_state import wire
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.clients.arguments import overlay
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.service import exchange
from xblock_user_state.service.access_log import access_of
from xblock_user_state.state.keys import row_key

pytestmark = pytest.mark.django_db

BLOCK = make_block("stars")
READ = wire.ReadRows(learner="ann", rows=[wire.Address.of_key(Scope.user_state, BLOCK)])
WRITE = wire.Write.of("ann", {Scope.user_state: {row_key(BLOCK, Scope.user_state): overlay(BLOCK, {"a": 1})}})


def exists() -> bool:
    return bool(DjangoXBlockUserStateClient().get_encoded("ann", [BLOCK]))


def test_a_request_is_not_begun_after_its_deadline(host: Caller) -> None:
    assert problem_in(host.send(WRITE, X_Timeout_Ms="0")).code == "DeadlinePassed"
    assert not exists()
    assert host(WRITE, X_Timeout_Ms="60000").rows[0].revision == 1


def test_a_deadline_may_pass_while_the_body_arrives(host: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_slowly(request: HttpRequest) -> bytes:
        access_of(request).since -= 61
        return b""

    monkeypatch.setattr(exchange, "read_body", read_slowly)
    assert problem_in(host.send(WRITE, X_Timeout_Ms="60000")).code == "DeadlinePassed"


@pytest.mark.parametrize(("queued", "is_begun"), [(61, False), (1, True), (-3600, True)])
def test_the_wait_behind_a_proxy_counts(host: Caller, queued: int, is_begun: bool) -> None:
    """The third is a proxy whose clock is fast."""
    headers = {"X_Timeout_Ms": "60000", "X_Request_Start": f"t={time.time() - queued:.3f}"}
    assert (host.send(WRITE, **headers).status_code == 200) is is_begun
    assert exists() is is_begun


@pytest.mark.parametrize("start", ["", "soon", "t=soon", "1512379167.574", "t=" + "9" * 400 + ".999"])
def test_another_form_of_a_proxys_time_counts_for_nothing(host: Caller, start: str) -> None:
    assert host.send(WRITE, X_Timeout_Ms="60000", X_Request_Start=start).status_code == 200


@pytest.mark.parametrize("timeout", ["soon", "", "-5", "1e3", "2.5", "٣", "9" * 11])
def test_a_timeout_that_is_none_is_refused(host: Caller, timeout: str) -> None:
    assert problem_in(host.send(WRITE, X_Timeout_Ms=timeout)).code == "ValueError"


def test_requests_and_answers_are_compressed(host: Caller) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"a": "x" * 20_000})
    response = host.post(READ.path, gzip.compress(wire.encode(READ)), Content_Encoding="gzip", Accept_Encoding="gzip")
    assert response["Content-Encoding"] == "gzip"
    assert len(response.content) < 1000
    answer: Any = wire.decode(wire.Rows, content_of(response))
    assert answer.rows[0].revision == 1


def test_an_answer_of_a_few_packets_is_sent_at_once_with_its_length(host: Caller) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"a": "x" * 10_000})
    response = host.send(READ, Accept_Encoding="gzip")
    assert "Content-Encoding" not in response.headers
    assert response["Content-Length"] == str(len(response.content))


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"{}")[:-5], gzip.compress(b"{}") + b"more"])
def test_a_body_that_is_not_gzip_is_refused(host: Caller, body: bytes) -> None:
    assert problem_in(host.post(READ.path, body, Content_Encoding="gzip")).code == "DamagedMessage"


def test_an_encoding_that_is_not_known_is_refused(host: Caller) -> None:
    assert problem_in(host.post(READ.path, b"{}", Content_Encoding="br")).code == "UnsupportedMedia"
    assert problem_in(host.post(READ.path, b"{}", content_type="text/plain")).code == "UnsupportedMedia"


@pytest.mark.parametrize("is_compressed", [False, True])
def test_too_large_a_request_is_refused(host: Caller, monkeypatch: pytest.MonkeyPatch, is_compressed: bool) -> None:
    monkeypatch.setitem(settings.XBLOCK_USER_STATE, "SERVICE_REQUEST_BYTES", 5000)
    body = wire.encode(READ) + b" " * 5000
    response = (
        host.post(READ.path, gzip.compress(body), Content_Encoding="gzip")
        if is_compressed
        else host.post(READ.path, body)
    )
    assert problem_in(response).code == "RequestTooLarge"


def test_too_large_an_answer_is_refused(host: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"a": "x" * 10_000})
    monkeypatch.setitem(settings.XBLOCK_USER_STATE, "SERVICE_ANSWER_BYTES", 5000)
    assert problem_in(host.send(READ)).code == "AnswerTooLarge"


def test_a_history_of_large_states_comes_in_small_pages(host: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    client = DjangoXBlockUserStateClient()
    for number in range(4):
        client.set("ann", BLOCK, {"a": f"{number}" * 2000})
    monkeypatch.setitem(settings.XBLOCK_USER_STATE, "SERVICE_ANSWER_BYTES", 6000)
    page = host(wire.ReadHistory(learner="ann", row=READ.rows[0]))
    assert (len(page.entries), page.more) == (2, True)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("", "UnknownPath"),
        ("v1/", "UnknownPath"),
        ("v1/nothing", "UnknownPath"),
        ("v2/rows", "UnknownVersion"),
        ("rows", "UnknownPath"),
    ],
)
def test_a_path_that_no_call_has_is_a_problem(host: Caller, path: str, code: str) -> None:
    problem = problem_in(host.client.post(f"/state/{path}"))
    assert problem.code == code
    assert code == "UnknownVersion" or repr(path) in problem.detail


def test_a_method_that_a_path_does_not_have_is_a_problem(host: Caller) -> None:
    response = host.client.get("/state/v1/rows")
    assert (problem_in(response).code, response["Allow"]) == ("MethodNotAllowed", "POST")


def test_a_body_that_is_no_message_is_a_problem(host: Caller) -> None:
    for body in (b"", b"{", b'{"rows": 5}', b'{"rows": [], "more": 1}'):
        assert problem_in(host.post(READ.path, body)).code == "DamagedMessage"


def test_a_body_in_chunks_is_refused_with_the_reason(host: Caller) -> None:
    # Django reads no byte of such a body under WSGI.
    problem = problem_in(host.post(READ.path, b"", Transfer_Encoding="chunked"))
    assert problem.code == "DamagedMessage"
    assert "Content-Length" in problem.detail


def test_an_error_of_the_service_tells_nothing_and_is_logged(
    host: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr(DjangoXBlockUserStateClient, "_rows_of_scopes", fail)
    response = host.send(READ)
    assert problem_in(response).code == "InternalError"
    assert b"secret" not in content_of(response)
    assert "a secret" in caplog.text


def test_an_outage_of_the_database_names_no_host_and_is_logged(
    host: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        cause = OperationalError("connection to server at db.internal failed")
        raise ServiceUnavailable(f"the database 'default' can't serve learner state: {cause}") from cause

    monkeypatch.setattr(DjangoXBlockUserStateClient, "_rows_of_scopes", fail)
    response = host.send(READ)
    assert (problem_in(response).code, response["Retry-After"]) == ("ServiceUnavailable", "1")
    assert "db.internal" not in problem_in(response).detail
    assert "db.internal" in caplog.text


def test_a_page_of_another_site_can_not_use_a_session(ann: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    response = client.post("/state/v1/write", wire.encode(WRITE), content_type=wire.JSON)
    assert response.status_code == 401
    assert "CSRF" in problem_in(response).detail
    assert not exists()


def test_a_transaction_of_the_host_is_not_around_a_call(host: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    before = len(connection.savepoint_ids)

    def look(*_: Any) -> Any:
        seen.append(len(connection.savepoint_ids) > before)
        return {Scope.user_state: {}}

    monkeypatch.setattr(DjangoXBlockUserStateClient, "_rows_of_scopes", look)
    host(READ)
    assert seen == [False]


def test_an_answer_is_kept_by_nobody_else(host: Caller) -> None:
    response = host.send(READ)
    assert response["Cache-Control"] == "private, no-cache"
    assert "Accept-Encoding" in response["Vary"]


def test_a_stream_is_not_collected_under_asgi() -> None:
    taken: list[int] = []

    def chunks() -> Any:
        for number in range(3):
            taken.append(number)
            yield b"%d" % number

    async def first() -> bytes:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        response = exchange.stream(ASGIRequest(scope, BytesIO()), chunks())
        content: Any = response
        async for chunk in content:
            return bytes(chunk)
        return b""

    assert async_to_sync(first)() == b"0"
    assert taken == [0]

"""A service with learners, and callers of it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.factories import make_learners
from xblock_user_state import wire

Call = Callable[..., Any]


class Caller:
    """Sends messages as one user, and reads the answers."""

    def __init__(self, user: User | None = None) -> None:
        self.client = Client(raise_request_exception=False)
        if user is not None:
            self.client.force_login(user)

    def send(self, message: Any, **headers: str) -> Any:
        """Return Django's response to a call."""
        return self.post(message.path, wire.encode(message), **headers)

    def post(self, path: str, body: bytes, *, content_type: str = wire.JSON, **headers: str) -> Any:
        """Return Django's response to a body."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"/state/v1/{path}", body, content_type=content_type, headers=sent)

    def __call__(self, message: Any, **headers: str) -> Any:
        """Return the answer to a call. Raises the error of a problem."""
        response = self.send(message, **headers)
        if response.status_code != 200:
            raise wire.error_of(problem_in(response))
        return wire.decode(type(message).answer, content_of(response))

    def lines(self, message: Any) -> list[Any]:
        """Return the lines of a stream up to its last one."""
        response = self.send(message)
        assert response["Content-Type"] == wire.LINES
        return list(wire.decode_lines(content_of(response).splitlines()))


def content_of(response: Any) -> bytes:
    """Return the body of a response, decompressed."""
    body = response.getvalue()
    return gzip.decompress(body) if response.headers.get("Content-Encoding") == "gzip" else body


def problem_in(response: Any) -> wire.Problem:
    """Return the problem that a response is. Fails if it is none."""
    assert response["Content-Type"] == wire.PROBLEM, content_of(response)
    problem: wire.Problem = wire.decode(wire.Problem, content_of(response))
    assert problem.status == response.status_code
    return problem


@pytest.fixture
def ann(db: None) -> User:
    return make_learners("ann", "bob")[0]


@pytest.fixture
def host(ann: User) -> Caller:
    """A caller who may do everything."""
    return Caller(User.objects.create(username="host", is_superuser=True))


@pytest.fixture
def learner(ann: User) -> Caller:
    """The learner ann, who reads and writes their own state."""
    return Caller(ann)

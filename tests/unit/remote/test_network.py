"""Names that the system resolves slowly, or not at all: a caller waits no longer than its deadline."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest

from tests.unit.remote.scripted import KEY
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.remote import Limits, RemoteXBlockUserStateClient, State


@contextmanager
def client_of_a_name(attempts: int) -> Iterator[RemoteXBlockUserStateClient]:
    limits = Limits(attempt=0.1, total=2.0, attempts=attempts, failures=attempts)
    with RemoteXBlockUserStateClient("http://service.test/state", "token", limits=limits) as client:
        yield client


def test_a_caller_does_not_wait_for_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    left = Event()

    def hang(*_: Any, **__: Any) -> Any:
        left.wait()
        raise socket.gaierror("as told")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with client_of_a_name(attempts=2) as client:
        try:
            with pytest.raises(ServiceUnavailable, match=r"service\.test was not resolved in time \(2 attempts\)"):
                client.get("ann", KEY)
        finally:
            # The threads that nobody waits for end.
            left.set()
        assert client.breaker.state is State.OPEN


def test_a_name_that_nobody_has_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with client_of_a_name(attempts=1) as client, pytest.raises(ServiceUnavailable, match="Name or service not known"):
        client.get("ann", KEY)

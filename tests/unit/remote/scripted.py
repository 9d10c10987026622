"""A service that answers as a test tells it, on a clock that a test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx2
from opaque_keys.edx.keys import UsageKey

from tests.clock import Clock
from xblock_user_state import wire
from xblock_user_state.remote import Limits, RemoteXBlockUserStateClient

KEY = UsageKey.from_string("block-v1:night+sky+2026+type@problem+block@moon")
ROW = {"revision": 1, "state": {"seen": 3}, "created": "2026-01-02T03:04:05Z", "updated": "2026-01-02T03:04:05Z"}
FOUND = {"rows": [ROW]}
STEADY = Limits(attempt=5.0, total=20.0, attempts=4, failures=1_000)
"""Limits with a breaker that stays closed."""

Step = Callable[[httpx2.Request], httpx2.Response]


def answer(status: int, content: object = FOUND, **headers: str) -> Step:
    """Answer with JSON."""
    return lambda _: httpx2.Response(status, json=content, headers={k.replace("_", "-"): v for k, v in headers.items()})


def problem(code: str, detail: str = "no") -> Step:
    """Answer with a problem of the service's."""
    found = wire.problem(code, detail)
    return lambda _: httpx2.Response(found.status, content=wire.encode(found))


def fault(kind: type[Exception]) -> Step:
    """Fail as the network does."""

    def fail(_: httpx2.Request) -> httpx2.Response:
        raise kind("as told")

    return fail


class Pieces(httpx2.SyncByteStream):
    """A body that arrives in pieces, and is cut if one of them is an exception."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def body(*pieces: bytes | Exception, **headers: str) -> Step:
    """Answer with a body in pieces."""
    return lambda _: httpx2.Response(
        200, stream=Pieces(*pieces), headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


class Service:
    """Takes one step for each request; the last one again and again."""

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        return step(request)

    def headers(self, name: str) -> list[str]:
        """Return the values of a header, one a request."""
        return [request.headers[name] for request in self.requests]

    def messages(self) -> Iterable[Any]:
        """Yield the bodies."""
        return (wire.decode(dict, request.content) for request in self.requests)


class SleepingClock(Clock):
    """Its `sleep` stands in for that of the standard library."""

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def client_of(service: Service, clock: Clock, limits: Limits = STEADY, **options: Any) -> RemoteXBlockUserStateClient:
    """Return a client of this service."""
    options.setdefault("token", "a.b.c")
    return RemoteXBlockUserStateClient(
        "http://service.test/state", limits=limits, network=httpx2.MockTransport(service), clock=clock, **options
    )

"""Requests to the service over HTTP, with deadlines, retries and the breaker. The only module that knows httpx2."""

from __future__ import annotations

import gzip
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeVar

import httpcore2
import httpx2
import stamina

from xblock_user_state import __version__, wire
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.metrics import names
from xblock_user_state.metrics.reporter import Reporter
from xblock_user_state.remote.breaker import Breaker, BreakerOpen, Listener
from xblock_user_state.remote.network import BoundedBackend, bounded

KEPT_SECONDS = 30.0
"""Seconds that an idle connection is kept open. The service may close it earlier."""

COMPRESSED_BYTES = 14_000
"""The size of a body from which on it is sent compressed: a smaller one is sent at once (RFC 6928) all the same."""

PASSING = (429, 502, 503, 504)
"""Statuses of an answer that may be another one in a moment."""

_HEADERS = {
    "Accept": f"{wire.JSON}, {wire.LINES}",
    "Accept-Encoding": "gzip",
    "Content-Type": wire.JSON,
    "User-Agent": f"xblock-user-state/{__version__}",
}

Network = httpx2.BaseTransport
"""A transport of httpx2: it sends a request and returns the response."""

Token = str | Callable[[], str]
"""A token, or a function that each attempt asks for one, so that it may be renewed before it expires."""


@dataclass(frozen=True)
class Limits:
    """The limits of a call: seconds to wait, attempts, and the failures that open the breaker."""

    attempt: float = 5.0
    """For one attempt, from the connection to the last byte of the answer."""
    total: float = 15.0
    """For the call, with all attempts and the waits between them; of a stream, for its next lines."""
    attempts: int = 4
    connections: int = 50
    """Open connections of a process at a time."""
    failures: int = 5
    """Failed attempts in a row, of all calls of a process, that open the breaker."""
    probe: float = 5.0
    """From a failure of an open breaker to the next attempt that it lets through."""

    def __post_init__(self) -> None:
        for name in ("attempt", "total"):
            # NaN is not more than 0 either.
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0 seconds, not {getattr(self, name)!r}")
        for name in ("attempts", "connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r}")

    @property
    def longest_wait(self) -> float:
        """The longest wait between two attempts."""
        return min(1.0, self.total / 10)


Result = TypeVar("Result")


class Request(NamedTuple):
    """A request that may be repeated: a read, or a write with a key that makes a second one harmless."""

    path: str
    body: bytes
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """The answer to a request, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Deadline:
    """The end of a call."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = clock() + seconds

    def left(self) -> float:
        """Return the seconds left; 0 or less afterwards."""
        return self._until - self._clock()

    def of_attempt(self, seconds: float) -> Deadline:
        """Return the end of an attempt, which may take so many seconds and no longer than the call."""
        return Deadline(min(seconds, self.left()), self._clock)


class Failure(Exception):
    """An attempt without an answer, whose cause is httpx2's error, or with an answer that is no success."""

    def __init__(self, reason: str, answer: Answer | None = None) -> None:
        super().__init__(reason)
        self.answer = answer

    @property
    def is_passing(self) -> bool:
        """Tell whether another attempt may succeed."""
        return self.answer.status in PASSING if self.answer else not _is_of_certificate(self)

    @property
    def is_of_the_service(self) -> bool:
        """Tell whether the service is in trouble, not the request."""
        return self.answer is None or self.answer.status >= 500

    @property
    def retry_after(self) -> float | None:
        """The seconds that the service asks to wait."""
        # A date would have to be compared with another machine's clock.
        seconds = self.answer.headers.get("Retry-After", "") if self.answer else ""
        return float(seconds) if seconds.isdecimal() else None

    @property
    def label(self) -> str:
        """The status or the kind of error, for the metrics."""
        return str(self.answer.status) if self.answer else type(self.__cause__ or self).__name__


def _is_of_certificate(error: BaseException | None) -> bool:
    """Tell whether an error is, or comes from, a certificate that is not accepted."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        # The pool raises its errors "from None".
        error = error.__cause__ or error.__context__
    return error is not None


class _Process(NamedTuple):
    """The parts that a forked child must not share: sockets and locks."""

    network: Network
    breaker: Breaker


@dataclass(frozen=True)
class Transport:
    """Sends requests to one service. Threads may share it, and a forked child gets connections of its own."""

    base_url: str
    token: Token = field(repr=False)
    limits: Limits = Limits()
    listeners: tuple[Listener, ...] = ()
    reporter: Reporter | None = None
    ssl_context: ssl.SSLContext | None = None
    network: Network | None = None
    """Stands in the place of the network."""
    clock: Callable[[], float] = time.monotonic
    # By process id. A child leaves the entry of its parent alone: closing it could wait for a lock that nobody holds.
    _processes: dict[int, _Process] = field(default_factory=dict, repr=False)

    @property
    def breaker(self) -> Breaker:
        """The breaker of this process."""
        return self._process.breaker

    def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        process = self._processes.pop(os.getpid(), None)
        if process:
            process.network.close()

    def call(self, request: Request) -> Answer:
        """Return the answer of a success. Raises `Failure` for any other, and `ServiceUnavailable` if there is none."""
        deadline, since = self.deadline(), self.clock()
        request = _compressed(request)

        def attempt() -> Answer:
            until = deadline.of_attempt(self.limits.attempt)
            with self._counted():
                response = self._opened(request, until)
                with _errors_translated(until):
                    return _read(response)

        try:
            return self.repeated(attempt, request.path, deadline)
        finally:
            if self.reporter:
                self.reporter.record(names.REMOTE_RESPONSE_TIME, (self.clock() - since) * 1000, request.path)

    def deadline(self) -> Deadline:
        """Return the end of a call that begins now."""
        return Deadline(self.limits.total, self.clock)

    def open(self, request: Request, until: Deadline) -> Body:
        """Return the answer of a success, whose body is still to be read. One attempt: raises `Failure`."""
        with self._counted():
            return Body(self._opened(_compressed(request), until))

    def repeated(self, attempt: Callable[[], Result], operation: str, deadline: Deadline) -> Result:
        """Return the result of the first attempt that succeeds."""
        causes: list[BaseException] = []

        def decide(error: Exception) -> bool | float:
            if not isinstance(error, Failure):
                return False
            causes.append(error.__cause__ or error)
            self._count(names.REMOTE_FAILURES, operation, error.label)
            return error.is_passing and self._wait(error, deadline)

        repeating = stamina.RetryingCaller(
            self.limits.attempts,
            timeout=None,
            wait_initial=self.limits.longest_wait / 20,
            wait_max=self.limits.longest_wait,
            wait_jitter=self.limits.longest_wait / 10,
        )
        try:
            return repeating(decide, attempt)
        except Failure as failure:
            if failure.answer:
                raise
            message = f"{self.base_url} did not answer: {failure} ({_tries(causes)})"
            raise ServiceUnavailable(message) from (failure.__cause__ or failure)
        except BreakerOpen as refusal:
            if not causes:
                raise ServiceUnavailable(f"{self.base_url} was not asked, {refusal}") from refusal
            # A write may have been committed by an attempt whose answer was lost.
            message = f"{self.base_url} did not answer ({_tries(causes)}) and was not asked again, {refusal}"
            raise ServiceUnavailable(message) from causes[-1]

    def _wait(self, failure: Failure, deadline: Deadline) -> bool | float:
        """Return whether there is time for another attempt; if the service says when, the seconds until then."""
        if failure.retry_after is not None:
            return failure.retry_after if failure.retry_after < deadline.left() else False
        return deadline.left() > self.limits.longest_wait

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Ask the breaker, and tell it the outcome."""
        breaker = self.breaker
        number = breaker.enter()
        try:
            yield
        except Failure as failure:
            (breaker.failed if failure.is_of_the_service else breaker.succeeded)(number)
            raise
        except BaseException:
            breaker.left(number)
            raise
        breaker.succeeded(number)

    def _opened(self, request: Request, until: Deadline) -> httpx2.Response:
        """Send the request; return the answer of a success, of which only the head has been read."""
        seconds = until.left()
        if seconds <= 0:
            raise ServiceUnavailable(f"{self.base_url} was not asked: the deadline has passed")
        headers = {
            **_HEADERS,
            "Authorization": f"Bearer {self._checked_token()}",
            # The service does not begin what nobody waits for.
            wire.TIMEOUT: str(int(seconds * 1000)),
            **request.headers,
        }
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        url = _url(self.base_url, request.path)
        # Without httpx2's client: cookies, redirects and proxies would take half of the time of a small call.
        sent = httpx2.Request("POST", url, headers=headers, content=request.body, extensions={"timeout": timeouts})
        with _errors_translated(until):
            response = self._process.network.handle_request(sent)
            if response.is_success:
                return response
            answer = _read(response)
        raise Failure(f"{self.base_url} answered with the status {answer.status}", answer)

    def _checked_token(self) -> str:
        token: object = self.token() if callable(self.token) else self.token
        # httpx2's own error would show the header.
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("the token is empty or has characters that no token has")
        return token

    @property
    def _process(self) -> _Process:
        process = self._processes.get(os.getpid())
        if process is None:
            # Of two threads that come first at the same moment, one gives its pool up before it has a connection.
            process = self._processes.setdefault(os.getpid(), self._begun())
        return process

    def _begun(self) -> _Process:
        breaker = Breaker(self.limits.failures, self.limits.probe, listeners=self.listeners, clock=self.clock)
        return _Process(self.network or _Pool(self.limits.connections, self.ssl_context, self.base_url), breaker)

    def _count(self, metric: names.Metric, *tags: str) -> None:
        if self.reporter:
            self.reporter.count(metric, 1, *tags)


def _tries(causes: Sequence[BaseException]) -> str:
    return f"{len(causes)} attempts" if len(causes) > 1 else "1 attempt"


def checked_url(base_url: object) -> str:
    """Return the address of a service, which ends with a slash. Raises ``ValueError`` if it is none."""
    try:
        url = httpx2.URL(base_url) if isinstance(base_url, str) else httpx2.URL()
    except httpx2.InvalidURL:
        url = httpx2.URL()
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ValueError(
            f"base_url must be the address of a service, such as https://lms.example.org/state/, not {base_url!r}"
        )
    return f"{str(url).rstrip('/')}/"


@lru_cache(100)
def _url(base_url: str, path: str) -> httpx2.URL:
    # Parsing an address takes longer than reading a state.
    return httpx2.URL(f"{base_url}{wire.VERSION}/{path}")


class Body:
    """The body of an answer, part by part."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._parts = response.iter_bytes()

    def read(self, until: Deadline) -> bytes:
        """Return the next part, empty at the end. Raises `Failure`."""
        with _errors_translated(until):
            return next(self._parts, b"")

    def close(self) -> None:
        """Close the connection, unless it has been read to its end."""
        self._response.close()


class _Pool(httpx2.HTTPTransport):
    """A pool of connections whose sockets keep deadlines."""

    def __init__(self, connections: int, ssl_context: ssl.SSLContext | None, base_url: str) -> None:
        if ssl_context is None:
            # Reading the certificates of the system takes a while, and plain HTTP needs none.
            is_secure = base_url.startswith("https:")
            ssl_context = httpx2.create_ssl_context() if is_secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().__init__(verify=ssl_context)
        # httpx2 passes on all options of its pool but this backend.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=connections,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=BoundedBackend(),
        )


@contextmanager
def _errors_translated(until: Deadline) -> Iterator[None]:
    """Keep the deadline on sockets, and raise `Failure` for an error of the network or of the other side."""
    try:
        with bounded(until.left):
            yield
    except httpx2.PoolTimeout as error:
        raise ServiceUnavailable("all connections of this process were in use until the deadline") from error
    except httpx2.RequestError as error:
        raise Failure(f"{type(error).__name__}: {error}") from error


def _read(response: httpx2.Response) -> Answer:
    try:
        return Answer(response.status_code, response.headers, response.read())
    finally:
        response.close()


def _compressed(request: Request) -> Request:
    if len(request.body) < COMPRESSED_BYTES:
        return request
    # The lowest level: the time of the next levels is longer than that of the bytes on a network.
    body = gzip.compress(request.body, 1, mtime=0)
    return request._replace(body=body, headers={**request.headers, "Content-Encoding": "gzip"})

"""Sockets that keep a deadline.

httpx2 has timeouts for one operation on a socket, each anew: an answer that comes a byte at a time takes forever. Here
the caller's deadline bounds each operation as well, so all of them together end in time. The system's resolver takes
no timeout, so it works in a thread that a caller need not wait for.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Thread
from typing import Any

import httpcore2

Left = Callable[[], float]
"""Returns the seconds that the caller still waits; 0 or less if the deadline has passed."""

# A connection serves one request at a time, in the thread of its caller.
_LEFT: ContextVar[Left | None] = ContextVar("left", default=None)


@contextmanager
def bounded(left: Left) -> Iterator[None]:
    """Bound the operations on sockets inside the ``with`` block."""
    token = _LEFT.set(left)
    try:
        yield
    finally:
        _LEFT.reset(token)


class BoundedBackend(httpcore2.SyncBackend):
    """Opens sockets that keep the deadline of `bounded`."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect before the deadline, to the first address that answers."""
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in _resolved(host, port, _shortened(timeout, httpcore2.ConnectTimeout)):
            seconds = _shortened(timeout, httpcore2.ConnectTimeout)
            try:
                return _BoundedStream(super().connect_tcp(address, port, seconds, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class _BoundedStream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _shortened(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _shortened(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        seconds = _shortened(timeout, httpcore2.ConnectTimeout)
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _resolved(host: str, port: int, seconds: float | None) -> list[str]:
    """Return the addresses of a host. Raises `httpcore2.ConnectTimeout` if the resolver takes longer."""
    found: Future[list[str]] = Future()

    def resolve() -> None:
        try:
            found.set_result(_addresses(host, port))
        except BaseException as error:  # noqa: BLE001 (raised by `result`)
            found.set_exception(error)

    # A daemon, because the threads of an executor hold up the end of the process.
    Thread(target=resolve, name="name resolution", daemon=True).start()
    try:
        return found.result(seconds)
    except TimeoutError as error:
        raise httpcore2.ConnectTimeout(f"the name {host} was not resolved in time") from error


def _addresses(host: str, port: int) -> list[str]:
    # One by one, because the standard library gives each address the whole timeout.
    try:
        return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise httpcore2.ConnectError(str(error)) from error


def _shortened(timeout: float | None, too_late: type[Exception]) -> float | None:
    """Return the timeout of an operation, which ends at the deadline at the latest."""
    left = _LEFT.get()
    if left is None:
        return timeout
    seconds = left()
    if seconds <= 0:
        raise too_late("the deadline has passed")
    return seconds if timeout is None else min(timeout, seconds)

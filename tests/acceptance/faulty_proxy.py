"""A TCP proxy before a web server, with the faults of a network for single requests."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_BEGINS = b"POST "
_PIECE = 64 * 1024
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Fault:
    """The fate of one request."""

    reaches: bool = True
    """The request goes on to the server."""
    answer: bytes | None = None
    """Stands in the place of the server's answer."""
    passed: int | None = None
    """Bytes of the answer that come through before a reset; ``None`` for all."""
    delay: float = 0.0
    """Seconds before the answer goes on."""
    drips: bool = False
    """The answer comes byte by byte, with the delay before each."""


RESET_BEFORE = Fault(reaches=False, passed=0)
RESET_AFTER = Fault(passed=0)
_NONE = Fault()


class FaultyProxy:
    """Passes on bytes, and gives the faults in `faults` to the next requests, one each."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()
        self._open: list[socket.socket] = []
        self.faults: deque[Fault] = deque()
        self.requests = 0
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._address[1]}"

    def __enter__(self) -> Self:
        self._accept_in_thread()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections, and break those that are open."""
        self._stop()
        yield
        self._listener = socket.create_server(self._address, reuse_port=False)
        self._accept_in_thread()

    def _stop(self) -> None:
        # A shutdown wakes the thread that waits; a close alone would leave it waiting, and the port taken.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept_in_thread(self) -> None:
        Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.connections += 1
                Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._target) as server:
            self._open += [client, server]
            fault = _NONE
            while True:
                readable, _, _ = select.select([client, server], [], [])
                if client in readable:
                    received = client.recv(_PIECE)
                    fault = self._fate(received, fault)
                    if not received or not self._went_on(received, fault, client, server):
                        return
                if server in readable:
                    received = server.recv(_PIECE)
                    fault = self._answer(received, fault, client)
                    if not received:
                        return

    def _fate(self, received: bytes, fault: Fault) -> Fault:
        """Return the fault of the request that these bytes belong to."""
        if not received.startswith(_BEGINS):
            return fault
        self.requests += 1
        return self.faults.popleft() if self.faults else _NONE

    def _went_on(self, received: bytes, fault: Fault, client: socket.socket, server: socket.socket) -> bool:
        if fault.answer is not None:
            client.sendall(fault.answer)
            return False
        if not fault.reaches:
            _reset(client)
            return False
        server.sendall(received)
        return True

    def _answer(self, received: bytes, fault: Fault, client: socket.socket) -> Fault:
        """Send a part of the answer to the client; return the fault of the rest."""
        for piece in _bytes_of(received) if fault.drips else [received]:
            time.sleep(fault.delay)
            client.sendall(piece if fault.passed is None else piece[: fault.passed])
        if fault.passed is None:
            return fault if fault.drips else _NONE
        if len(received) >= fault.passed:
            _reset(client)
            raise OSError("reset, as told")
        return replace(fault, passed=fault.passed - len(received))


def _bytes_of(received: bytes) -> list[bytes]:
    return [received[index : index + 1] for index in range(len(received))]


def _reset(client: socket.socket) -> None:
    """Close a connection by a reset: with this option the system sends no end of the stream."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

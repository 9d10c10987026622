"""A TCP proxy that stands for the network: ``python -m bench.site.proxy HOST PORT MILLISECONDS``.

It runs in a process of its own. It forwards requests after a delay and answers at once, so the delay is that of a round
trip. It also counts round trips: a client that sends after the server has answered begins a new one. The count needs no
knowledge of the protocol, and several statements in one message count once.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from django.db import connection

_BYTES = 1 << 18
# A URL may leave out the port; then the drivers take these.
_PORTS = {"postgresql": 5432, "mysql": 3306}


@dataclass(frozen=True)
class Proxy:
    """Handle of a running proxy process."""

    port: int
    process: subprocess.Popen[str]

    def round_trips(self) -> int:
        """Return the number of round trips since the start."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the proxy was started without pipes")
        self.process.stdin.write("count\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def forwarding(host: str, port: int, milliseconds: float) -> Iterator[Proxy]:
    """Run a proxy to a server."""
    command = [sys.executable, "-m", "bench.site.proxy", host, str(port), str(milliseconds)]
    process = subprocess.Popen(  # noqa: S603 - this interpreter, running our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield Proxy(int(process.stdout.readline() if process.stdout else 0), process)
        finally:
            process.kill()


@contextmanager
def between(milliseconds: float) -> Iterator[Proxy]:
    """Route Django's default connection through a proxy.

    Contenders with connections of their own must close them before, and again at the end.
    """
    settings = connection.settings_dict
    host, port = settings["HOST"], settings["PORT"]
    with forwarding(host or "127.0.0.1", port or _PORTS[connection.vendor], milliseconds) as proxy:
        connection.close()
        settings |= {"HOST": "127.0.0.1", "PORT": proxy.port}
        try:
            yield proxy
        finally:
            connection.close()
            settings |= {"HOST": host, "PORT": port}


class _Link:
    """One client's connection through the proxy."""

    round_trips = 0

    def __init__(self, client: socket.socket, server: socket.socket, seconds: float) -> None:
        self._client, self._server, self._seconds = client, server, seconds
        self._answered = True
        self._sent: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def start(self) -> None:
        tasks = [self._from_client, self._from_server] + ([self._send_late] if self._seconds else [])
        for task in tasks:
            Thread(target=task, daemon=True).start()

    def _from_client(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(_BYTES):
                if self._answered:
                    self._answered = False
                    self.round_trips += 1
                if self._seconds:
                    self._sent.put((time.perf_counter() + self._seconds, data))
                else:
                    self._server.sendall(data)
        self._end()

    def _send_late(self) -> None:
        with suppress(OSError):
            while True:
                due, data = self._sent.get()
                time.sleep(max(0.0, due - time.perf_counter()))
                self._server.sendall(data)

    def _from_server(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(_BYTES):
                self._answered = True
                self._client.sendall(data)
        self._end()

    def _end(self) -> None:
        for one in (self._client, self._server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def main() -> None:
    host, port, milliseconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    links: list[_Link] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        Thread(target=_accept, args=(listener, (host, port), milliseconds / 1000, links), daemon=True).start()
        for _ in sys.stdin:
            print(sum(link.round_trips for link in links), flush=True)


def _accept(listener: socket.socket, target: tuple[str, int], seconds: float, links: list[_Link]) -> None:
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(target)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        links.append(_Link(client, server, seconds))
        links[-1].start()


if __name__ == "__main__":
    main()

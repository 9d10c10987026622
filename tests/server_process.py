"""Web servers for tests: a process with a separate port."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

PATIENCE = 60


class ServerProcess:
    """``python`` with arguments. Can be killed and restarted with the same port and data."""

    def __init__(
        self,
        arguments: Sequence[str],
        working_folder: Path,
        environment: Mapping[str, str],
        log: Path,
        page: str,
        *,
        python: str = sys.executable,
    ) -> None:
        """Replace ``{port}`` in `arguments` by the port. The server is up when it serves `page`."""
        self._log = log
        self._environment = environment
        self._working_folder = working_folder
        port = _free_port()
        self._command = [python, *(argument.format(port=port) for argument in arguments)]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{port}"
        self._page = self.url + page

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._working_folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server did not start:\n{self.log}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urlopen(self._page, timeout=5) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)
        except (URLError, ConnectionError, TimeoutError):
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

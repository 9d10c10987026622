"""Web servers for tests: a process with a separate port."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

PATIENCE = 60


class ServerProcess:
    """``python`` with arguments. Can be killed and restarted with the same port and data."""

    def __init__(  # noqa: PLR0913
        self,
        arguments: Sequence[str],
        working_folder: Path,
        environment: Mapping[str, str],
        log: Path,
        page: str,
        *,
        python: str = sys.executable,
        authority: Path | None = None,
    ) -> None:
        """Replace ``{port}`` in `arguments` by the port. The server is up when it serves `page`.

        `authority` has signed the certificate of a server with TLS.
        """
        self._log = log
        self._environment = environment
        self._working_folder = working_folder
        port = _free_port()
        self._command = [python, *(argument.format(port=port) for argument in arguments)]
        self._process: subprocess.Popen[bytes] | None = None
        self._tls = ssl.create_default_context(cafile=authority) if authority else None
        self.url = f"{'https' if authority else 'http'}://127.0.0.1:{port}"
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
                # A group, so that workers of the server are killed with it.
                process_group=0,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server did not start:\n{self.log}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End the process and its children with SIGKILL."""
        if self._process is not None:
            # It may have ended by itself.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Ask the process to end, with SIGTERM."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        """Wait for the end of the process, and return its exit status."""
        assert self._process is not None
        status = self._process.wait(PATIENCE)
        self._process = None
        return status

    def _answers(self) -> bool:
        try:
            with urlopen(self._page, timeout=5, context=self._tls) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)
        except (URLError, ConnectionError, TimeoutError):
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""``python -m demo.remote``: the demo in one process, and learners' state behind a service over HTTP in another."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import django

PATIENCE_SECONDS = 60


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
    django.setup()
    from demo.host.preparing import prepare  # noqa: PLC0415 (needs the apps)
    from demo.settings import VAR  # noqa: PLC0415

    # The signal alone would end this process only, and leave both of its children.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Both processes have one database, so that accounts have one id. The demo reads and writes no state in it.
    prepare()
    database = os.environ.get("DATABASE_URL") or f"sqlite:///{VAR / 'demo.sqlite3'}"
    port = free_port()
    address = f"http://127.0.0.1:{port}/user-state/"
    environment = {**os.environ, "DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "demo.service_site.settings"}
    command = [sys.executable, "-W", "ignore", "-m", "demo.service_site", "--port", str(port)]
    with subprocess.Popen(command, env=environment) as service:  # noqa: S603 (our own program)
        try:
            wait_for(f"{address}health/ready", service)
            arguments = [sys.executable, "-m", "demo", *sys.argv[1:]]
            return subprocess.call(arguments, env={**os.environ, "DEMO_SERVICE": address})  # noqa: S603
        except KeyboardInterrupt:
            return 0
        finally:
            service.terminate()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(page: str, service: subprocess.Popen[bytes]) -> None:
    """Return when a page is served. Raises ``RuntimeError`` if the service ends before, or takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while service.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(page, timeout=5):  # noqa: S310 (our own address)
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError("the service did not start")


if __name__ == "__main__":
    sys.exit(main())

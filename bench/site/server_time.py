"""The processor time that a database server spends on one connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db import connection

_OF_SERVER = {
    "postgresql": "SELECT pg_backend_pid()",
    # MariaDB has a thread for each connection.
    "mysql": "SELECT tid FROM information_schema.processlist WHERE id = connection_id()",
}


class ServerTime:
    """Reads the time of the process, or thread, that serves Django's present connection. It is on this machine."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_OF_SERVER[connection.vendor])
            task: Any = cursor.fetchone()
        self._times = Path(f"/proc/{task[0]}/schedstat")

    def milliseconds(self) -> float:
        """Return the time since the connection began."""
        # https://docs.kernel.org/scheduler/sched-stats.html
        return int(self._times.read_text().split()[0]) / 1e6

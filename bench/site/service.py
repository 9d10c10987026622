"""The service over HTTP, in processes of its own as ``make serve`` starts it, and its callers' tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth import get_user_model
from django.test.utils import override_settings

from bench.site.data import Learner
from demo.remote import free_port, wait_for
from demo.service_site.__main__ import TOOL, server

WORKERS = 2
SETTINGS = "demo.service_site.settings"
_HOST = "127.0.0.1"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Service:
    """A running service."""

    port: int
    process: int

    @property
    def url(self) -> str:
        """The address for a client."""
        return address(self.port)

    def megabytes(self) -> float:
        """Return the resident memory of its processes."""
        return sum(_megabytes(process) for process in _tree(self.process))

    def milliseconds(self) -> float:
        """Return the processor time of its processes."""
        return milliseconds_of(self.process)


def address(port: int) -> str:
    """Return the address of the service behind a port of this machine."""
    return f"http://{_HOST}:{port}/user-state/"


@contextmanager
def serving(folder: Path, url: str, *, workers: int = WORKERS, threads: int | None = None) -> Iterator[Service]:
    """Run the service over a migrated database until the end of the ``with`` block.

    `threads` is the number for each worker, by default that of ``make serve``.
    """
    port = free_port()
    environment = {**os.environ, **environment_of(folder, url)}
    command = server(_HOST, port, workers)
    if threads is not None:
        command[command.index("--blocking-threads") + 1] = str(threads)
    with (folder / "service.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - runs the demo's server
            [sys.executable, "-W", "ignore", *command], env=environment, stdout=log, stderr=log
        )
        with process:
            try:
                wait_for(f"{address(port)}health/ready", process)
                yield Service(port, process.pid)
            finally:
                process.terminate()


def environment_of(folder: Path, url: str) -> dict[str, str]:
    """Return the variables of a process with the settings of the service."""
    return {"DATABASE_URL": url, "DEMO_VAR": str(folder), "DJANGO_SETTINGS_MODULE": SETTINGS}


def make_tool(number: int) -> None:
    """Create the account of the tool, by an id that no learner has."""
    get_user_model().objects.create(pk=number, username=TOOL, is_superuser=True)


def tokens(learners: list[Learner]) -> tuple[str, list[str]]:
    """Return a token of the tool, and the learners' own."""
    from demo.service_site.settings import XBLOCK_USER_STATE  # noqa: PLC0415 - makes keys in the folder of this run
    from xblock_user_state.service.tokens import issue_token  # noqa: PLC0415 - needs Django set up

    tool = get_user_model().objects.get(username=TOOL)
    scopes = ["state:read", "state:write"]
    with override_settings(XBLOCK_USER_STATE=XBLOCK_USER_STATE):
        of_tool = issue_token(TOOL, tool.pk, [*scopes, "history:read", "report:read"], days=1)
        return of_tool, [issue_token(each.username, each.id, [*scopes, "own"], days=1) for each in learners]


def milliseconds_of(process: int) -> float:
    """Return the processor time of a process and its children, which Linux counts in ticks of 10 ms."""
    # The fields after the name, which may have spaces: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    stats = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in _tree(process)]
    return sum(int(ticks) for stat in stats for ticks in stat[11:13]) * 1000 / _TICKS


def parent_of(process: int) -> int:
    """Return the process that has started a process."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _tree(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(one for child in children for one in _tree(int(child)))]


def _megabytes(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))

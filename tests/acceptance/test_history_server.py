"""The history's server is stopped, killed and started while learners work: no write fails, no entry is lost."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Sum
from django.test import override_settings

from scripts.database_servers import SERVERS, Server
from tests.acceptance.conftest import Start
from tests.acceptance.traffic import begin, write
from tests.acceptance.waiting import finished, wait_until
from tests.factories import make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import HistoryOutbox, StudentModule

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", "student_module_history"]),
]

WRITERS = ("ann", "ben", "cyd", "dan")


class File:
    """A SQLite file that can be out of reach, as a server can be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._away = folder.with_name("away")
        self._name = "history.sqlite3"
        self.url = f"sqlite:///{folder / self._name}"

    def start(self) -> None:
        """Put the folder back."""
        self._lock.close()
        self._away.rename(self._folder)

    def stop(self) -> None:
        """Move the folder away."""
        self._folder.rename(self._away)
        # A relay may have the file open, and would ship to it.
        self._lock = sqlite3.connect(self._away / self._name, timeout=60, isolation_level=None)
        self._lock.execute("BEGIN IMMEDIATE")

    kill = stop


@contextmanager
def _file(folder: Path) -> Iterator[File]:
    folder.mkdir()
    yield File(folder)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server | File]:
    """A separate server for the history, of the same vendor as the state's."""
    vendor = {"mysql": "mariadb"}.get(connection.vendor, connection.vendor)
    with SERVERS[vendor]() if vendor in SERVERS else _file(tmp_path / "history") as server:
        yield server


def test_learners_work_on_while_the_history_server_does_not(server: Server | File, start: Start) -> None:
    make_learners(*WRITERS)
    there = {"HISTORY_DATABASE_URL": server.url}

    def command(*arguments: str) -> str:
        return finished(start("django", *arguments, **there))

    command("migrate", "--database", "student_module_history")
    traffic = [begin(start, "write", name, "extended", **there) for name in WRITERS]
    Traffic(traffic).until_written(1)
    traffic += [begin(start, "read_or_be_refused", name, "extended", **there) for name in WRITERS]
    relays = [start("django", "relay_history", "--follow", "--batch", "7", **there) for _ in range(2)]
    go_on = Traffic([*traffic, *relays])

    go_on.until_written(20)
    for end in (server.stop, server.kill):
        end()
        go_on.until_written(20)
        go_on.until(HistoryOutbox.objects.exists)
        see_all_of_a_newcomer(start, there)
        server.start()
        go_on.until_written(20)
    # The relays, or the next writes, ship the backlog.
    for process in [*traffic, *relays]:
        process.send_signal(signal.SIGTERM)
    assert all(int(finished(process)) > 0 for process in traffic)
    assert all("entries were shipped" in finished(process) for process in relays)

    command("relay_history", "--once")
    assert not HistoryOutbox.objects.exists()
    rows, written = StudentModule.objects.count(), StudentModule.objects.aggregate(all=Sum("revision"))["all"]
    assert command("check_history") == f"{rows:,} rows with {written:,} entries were checked.\n"


def see_all_of_a_newcomer(start: Start, there: Mapping[str, str]) -> None:
    """Let a learner begin while the history's server is down: readers find all entries in the outbox."""
    name = f"newcomer-{get_user_model().objects.count()}"
    make_learners(name)
    with override_settings(XBLOCK_USER_STATE={"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}):
        write(DjangoXBlockUserStateClient(), name)
    newcomer = [begin(start, role, name, "extended", **there) for role in ("write", "read")]
    Traffic(newcomer).until_written(5, name)
    for process in newcomer:
        process.send_signal(signal.SIGTERM)
    assert all(int(finished(process)) > 0 for process in newcomer)


class Traffic:
    """Processes that must keep working."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def until_written(self, calls: int, *names: str) -> None:
        """Return when each learner has written this many times more."""
        before = self._revisions()
        goal = {name: before.get(name, 0) + calls for name in names or WRITERS}
        self.until(lambda: all(self._revisions().get(name, 0) >= revision for name, revision in goal.items()))

    def until(self, reached: Callable[[], bool]) -> None:
        """Return when the condition holds; fail if one of the processes ends."""
        wait_until(reached, *self._processes, moving=self._revisions)

    def _revisions(self) -> dict[str, int]:
        return dict(StudentModule.objects.order_by("revision").values_list("student__username", "revision"))

"""A real cluster of Citus changes while learners write: tables are distributed, shards move, workers come and go.

``CITUS_URL`` names the cluster (CONTRIBUTING.md). Its servers run on this machine.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.db.models import Sum
from django.test import override_settings

from scripts.database_servers import find_binary, kill_all
from tests import citus
from tests.acceptance import workers
from tests.acceptance.conftest import Manage
from tests.acceptance.processes import Crew, Worker, listen
from tests.acceptance.scene import problems
from tests.acceptance.waiting import PATIENCE_SECONDS, Patience
from tests.factories import make_learners
from xblock_user_state import conf
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import stores
from xblock_user_state.models import HistoryOutbox, StudentModule
from xblock_user_state.openedx.models import BlockNumber
from xblock_user_state.store.databases import is_distributed
from xblock_user_state.store.dialects.distribution import ask_again

pytestmark = [
    pytest.mark.skipif(not citus.URL, reason="CITUS_URL names no cluster"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300),
]

BLOCKS = problems("cluster", 3)

_SHARD = "get_shard_id_for_distribution_column('xblock_user_state_studentmodule', %s)"
_PLACE = f"""
    SELECT nodename, nodeport FROM pg_dist_placement JOIN pg_dist_node USING (groupid) WHERE shardid = {_SHARD}
"""  # noqa: S608 (ours)
_WORKERS = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid > 0 ORDER BY groupid"


class Place(NamedTuple):
    """A worker of the cluster."""

    host: str
    port: int


def _ask(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


@pytest.fixture
def learners(transactional_db: None) -> dict[str, int]:
    """The names and ids of learners who have met the blocks: so many that two workers have some of them."""
    users = make_learners(*(f"learner{number}" for number in range(16)))
    for user in users:
        DjangoXBlockUserStateClient().set_many(user.username, {block: {"n": 0} for block in BLOCKS})
    return {user.username: user.pk for user in users}


def _places(learners: Mapping[str, int]) -> dict[str, Place]:
    return {name: Place(*_ask(_PLACE, student_id)[0]) for name, student_id in learners.items()}


Writers = Mapping[str, Worker]


def _write(crew: Crew, work: Callable[..., Iterator[Any]], names: Sequence[str], *arguments: Any) -> Writers:
    """Let a process write for each learner."""
    writers = dict(zip(names, crew.hire(len(names)), strict=True))
    for name, writer in writers.items():
        writer.start(work, name, *arguments)
    return writers


def _listen_until(writers: Writers, reached: Callable[[], bool]) -> None:
    patience = Patience(lambda: {name: (len(writer.said), writer.said[-3:]) for name, writer in writers.items()})
    while not reached():
        patience.check()
        listen(writers.values(), time.monotonic() + 0.1)


def _listen_for(writers: Writers, values: int) -> None:
    goals = {name: len(writer.said) + values for name, writer in writers.items()}
    _listen_until(writers, lambda: all(len(writers[name].said) >= goal for name, goal in goals.items()))


def _during(writers: Writers, action: Callable[[], object]) -> None:
    """Run `action` while the writers write, who write before it and after it too."""

    def act() -> None:
        try:
            action()
        finally:
            connections.close_all()

    _listen_for(writers, 5)
    with ThreadPoolExecutor(1) as thread:
        acting = thread.submit(act)
        _listen_until(writers, acting.done)
    acting.result()
    _listen_for(writers, 5)


def _assert_each_call_is_a_revision(writers: Writers) -> None:
    """Each call was acknowledged: `count_up` ends at an error."""
    for name, writer in writers.items():
        calls = len(writer.stop())
        found = DjangoXBlockUserStateClient().get_many(name, BLOCKS)
        assert [(one.state, one.revision) for one in found] == [({"n": calls}, calls + 1)] * len(BLOCKS)


def _assert_clean(manage: Manage) -> None:
    rows, written = StudentModule.objects.count(), StudentModule.objects.aggregate(all=Sum("revision"))["all"]
    assert manage("check_history") == f"{rows:,} rows with {written:,} entries were checked.\n"


def test_shards_move_and_no_call_fails(crew: Crew, learners: dict[str, int], manage: Manage) -> None:
    names = list(learners)[:4]
    [home] = {_places(learners)[names[0]]}
    way = [home, *(place for place in _ask(_WORKERS) if place != home), home]
    move = f"SELECT citus_move_shard_placement({_SHARD}, %s, %s, %s, %s)"
    writers = _write(crew, workers.count_up, names, BLOCKS, "n", 1)
    _during(writers, lambda: [_ask(move, learners[names[0]], *a, *b) for a, b in pairwise(way)])
    _assert_each_call_is_a_revision(writers)
    _assert_clean(manage)


def test_a_worker_leaves_and_comes_and_no_call_fails(crew: Crew, learners: dict[str, int], manage: Manage) -> None:
    near, far = _around("learner0", learners)
    home = _places(learners)["learner0"]

    def remove_and_add() -> None:
        _ask("SELECT citus_set_node_property(%s, %s, 'shouldhaveshards', false)", *home)
        _rebalance()
        assert home not in _places(learners).values()
        _ask("SELECT citus_remove_node(%s, %s)", *home)
        _ask("SELECT citus_add_node(%s, %s)", *home)
        _rebalance()
        assert home in _places(learners).values()

    writers = _write(crew, workers.count_up, [*near, *far], BLOCKS, "n", 1)
    _during(writers, remove_and_add)
    _assert_each_call_is_a_revision(writers)
    _assert_clean(manage)


def _around(name: str, learners: Mapping[str, int]) -> tuple[Sequence[str], Sequence[str]]:
    """Return two learners of the worker that this learner is on, and two of other workers."""
    places = _places(learners)
    near = [one for one in learners if places[one] == places[name]]
    far = [one for one in learners if places[one] != places[name]]
    return near[:2], far[:2]


def _rebalance() -> None:
    """Let Citus move shards in a job of its own, and wait for the job."""
    [[job]] = _ask("SELECT citus_rebalance_start()")
    _ask("SELECT citus_job_wait(%s, 'finished')", job)


def test_only_its_learners_notice_that_a_worker_is_killed(crew: Crew, learners: dict[str, int], manage: Manage) -> None:
    near, far = _around("learner0", learners)
    home = _places(learners)["learner0"]
    writers = _write(crew, workers.keep_setting, [*near, *far], BLOCKS[0])
    _listen_for(writers, 5)
    with _killed(home):
        _listen_until(writers, lambda: not any(writers[name].said[-1][1] for name in near))
        _listen_for(writers, 20)
    _listen_until(writers, lambda: all(writers[name].said[-1][1] for name in near))
    _listen_for(writers, 5)
    for name, writer in writers.items():
        said = writer.stop()
        committed = {f"{number}" for number, is_committed in said if is_committed}
        refused = {f"{number}" for number, is_committed in said if not is_committed}
        found = DjangoXBlockUserStateClient().get(name, BLOCKS[0])
        fields = set(found.state or {}) - {"n"}
        assert bool(refused) == (name in near)
        # The worker may have died between a commit and its answer.
        assert committed <= fields <= committed | refused
        assert len(fields - committed) <= 1
        assert found.revision == len(fields) + 1
    _assert_clean(manage)


@contextmanager
def _killed(place: Place) -> Iterator[None]:
    """Kill all processes of a worker, and start it again at the end, as it was started before."""
    with citus.connected("postgres", *place) as cursor:
        cursor.execute("SELECT pg_read_file('postmaster.pid')")
        pid, folder = cursor.fetchone()[0].splitlines()[:2]
    process = Path("/proc", pid)
    account, command = process.stat(), _texts(process / "cmdline")
    # libpq looks into the home of the account, which is not that of the tests.
    environment = dict(each.split("=", 1) for each in _texts(process / "environ"))
    kill_all(int(pid))
    try:
        yield
    finally:
        end = time.monotonic() + PATIENCE_SECONDS
        while not _answers(place):
            assert time.monotonic() < end, "the worker does not start"
            # It forks: nobody here waits for the server's end. It refuses to start while the old one is not quite gone.
            subprocess.run(
                [find_binary("setsid", "util-linux"), "--fork", *command],
                user=account.st_uid,
                group=account.st_gid,
                extra_groups=[],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            time.sleep(1)


def _texts(of_process: Path) -> list[str]:
    return of_process.read_text().split("\0")[:-1]


def _answers(place: Place) -> bool:
    try:
        with citus.connected("postgres", *place):
            return True
    except OperationalError:
        return False


@pytest.fixture
def _on_one_server(learners: dict[str, int]) -> Iterator[None]:
    """All tables on the coordinator, as before a site has a cluster, but for one that Citus can't take back."""
    for alias in connections:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT logicalrelid::text FROM pg_dist_partition ORDER BY partmethod")
            for (name,) in cursor.fetchall():
                if name != BlockNumber._meta.db_table:
                    cursor.execute(f"SELECT undistribute_table('{name}')")
        ask_again(alias)
    yield
    call_command("distribute_user_state", stdout=StringIO())


@pytest.mark.usefixtures("_on_one_server")
def test_a_live_site_is_distributed(crew: Crew, learners: dict[str, int], manage: Manage) -> None:
    writers = _write(crew, workers.count_up, list(learners)[:4], BLOCKS, "n", 1)
    _assert_is_distributed_meanwhile(writers, learners, manage)


@pytest.mark.extended_history
@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.usefixtures("_on_one_server")
def test_a_live_site_with_an_extended_history_is_distributed(
    crew: Crew, learners: dict[str, int], manage: Manage
) -> None:
    flags = {"EXTENDED_HISTORY": True}
    with override_settings(XBLOCK_USER_STATE=flags):
        names = list(learners)[:4]
        writers = dict(zip(names, crew.hire(4), strict=True))
        for name, writer in writers.items():
            writer.start(workers.with_settings, flags, workers.count_up, name, BLOCKS, "n", 1)
        _assert_is_distributed_meanwhile(writers, learners, manage)
        ask_again(conf.history_database())
        assert is_distributed(conf.history_database())
        [_, (history, alias)] = [pair for pair in stores("default") if pair[0] is not HistoryOutbox]
        assert alias == conf.history_database()
        assert history._base_manager.using(alias).values("student_id").distinct().count() == 4


def _assert_is_distributed_meanwhile(writers: Writers, learners: Mapping[str, int], manage: Manage) -> None:
    _during(writers, lambda: manage("distribute_user_state"))
    ask_again(connection.alias)
    assert is_distributed(connection.alias)
    assert len(set(_places(learners).values())) > 1
    _assert_each_call_is_a_revision(writers)
    _assert_clean(manage)

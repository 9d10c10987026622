"""Figures that the workloads derive from their measurements, and the proxy between client and server."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from pathlib import Path
from random import Random
from threading import Thread
from types import ModuleType

import django
import opaque_keys
import pytest

from bench.page.voting import GUARDED, UNGUARDED
from bench.site import filling, machine, scale
from bench.site.data import COURSES, blocks_of, learner
from bench.workloads import growth, maintenance, processes, profiling, storage, voting
from bench.workloads.maintain import OF_ONE_BLOCK
from xblock_user_state import client
from xblock_user_state.history import encoding, splicing
from xblock_user_state.state import codec, keys


def test_a_value_that_falls_was_reset() -> None:
    entries = [
        {"attempts": 0},
        {"writer0": 1},
        {"writer0": 1, "writer1": 1},
        {"writer0": 2},
        {"writer0": 2, "writer1": 2},
    ]
    assert processes.values_reset(entries) == 1
    assert processes.values_reset(entries[:3]) == 0


def test_a_learner_of_a_grown_table_has_the_blocks_that_are_read() -> None:
    rows = filling.of_site(4_000)
    more = filling.after([rows], 10_000)
    assert (rows.learners, more.first_learner, more.learners, more.count) == (20, 21, 30, 6_000)
    for seed in range(50):
        learner, blocks = growth.some_blocks(Random(seed), [rows, more])
        number = learner.id - 1 if learner.id <= 20 else learner.id - 21
        assert {*blocks} <= {*blocks_of(number * 7 % COURSES)}
        assert len(blocks) == scale.BLOCKS


def test_contenders_get_their_rows_in_turns() -> None:
    rows = filling.of_site(250_000)
    pieces = [*rows.pieces()]
    assert [(piece.before, piece.count) for piece in pieces] == [(0, 100_000), (100_000, 100_000), (200_000, 50_000)]
    assert {piece.learners for piece in pieces} == {rows.learners}


def test_a_table_grows_as_far_as_the_disk_has_room() -> None:
    # 6 kB for each row: the free 60 GB take 10 million more, and a part stays free.
    assert growth.room_for(1_000_000, 6_000_000_000, 60_000_000_000) == 9_000_000
    assert growth.room_for(1_000_000, 6_000_000_000, 500_000_000) == 1_000_000


def test_the_turns_of_voting_processes_are_one_figure() -> None:
    turns = [voting.Turn(10.0, [1.0, 3.0], 1), voting.Turn(30.0, [2.0], 1)]
    figures = {"rate": 20.0, "p50": 2.0, "p99": 3.0, "cast": 3, "counted": 2}
    assert voting.summary(UNGUARDED, turns) == figures
    with pytest.raises(RuntimeError, match="3 votes, and the poll has 2"):
        voting.summary(GUARDED, turns)


def test_the_machine_and_its_versions_are_described() -> None:
    line = machine.line()
    assert not machine.is_of_quick_run(line)
    assert all(word in line for word in ("Linux", "Python 3.", "Django "))


def test_a_quick_run_is_told_by_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scale.QUICK_VARIABLE, "1")
    assert machine.is_of_quick_run(machine.line())


@pytest.mark.parametrize(
    ("module", "part"),
    [
        (codec, "JSON"),
        (encoding, "deltas"),
        (splicing, "deltas"),
        (keys, "keys and arguments"),
        (opaque_keys, "keys and arguments"),
        (client, "rows and statements"),
        (django, "Django"),
        (random, "other"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_profile_finds_the_part_of_each_module(module: ModuleType, part: str) -> None:
    assert profiling.part_of(str(module.__file__)) == part


def test_active_learners_are_few_and_the_same_in_every_round() -> None:
    few, many = filling.of_site(5_000), filling.of_site(20_000)
    assert len({*storage.active_learners(few)}) == few.learners // storage.ONE_IN
    assert len({*storage.active_learners(many)}) == storage.LEARNERS
    assert storage.active_learners(many) == storage.active_learners(many)


def test_the_proxy_counts_round_trips_and_delays_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=_echo, args=(server,), daemon=True).start()
        address = ["127.0.0.1", str(server.getsockname()[1]), "1"]
        command = [sys.executable, "-m", "bench.site.proxy", *address]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as proxy:
            assert proxy.stdout is not None
            assert proxy.stdin is not None
            port = int(proxy.stdout.readline())
            with socket.create_connection(("127.0.0.1", port)) as client:
                for _ in range(3):
                    client.sendall(b"x")
                    assert client.recv(1) == b"x"
            proxy.stdin.write("count\n")
            proxy.stdin.flush()
            assert proxy.stdout.readline() == "3\n"
            proxy.kill()


def _echo(server: socket.socket) -> None:
    client, _ = server.accept()
    with client:
        while data := client.recv(100):
            client.sendall(data)


def test_a_site_is_filled_exported_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "bench.site.settings")
    site = maintenance.Site(maintenance.ROOT / "src", "maintained", tmp_path, learners=1)
    of_all, of_one = site.run("export", learner(0).username), site.run("export", OF_ONE_BLOCK)
    assert of_all["statements"] == of_one["statements"]
    assert {(found["rows"], found["entries"]) for found in (of_one, site.run("check"), site.run("raw"))} == {(101, 634)}
    moved = {job: site.run(job, str(tmp_path)) for job in maintenance.MOVING}
    assert {job: found["entries"] for job, found in moved.items()} == {"archive": 533, "restore": 533, "compact": 634}
    assert moved["archive"]["archive"] > 0

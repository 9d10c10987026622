"""The sections that the benchmark writes, and what it makes of what processes tell it."""

from __future__ import annotations

import socket
import subprocess
import sys
from random import Random
from threading import Thread

from bench import filling, growth, iteration, latency, machine, processes, storage
from bench.contenders import OURS, RAW, REFERENCE
from bench.data import COURSES, blocks_of
from bench.figures import summary

NAMES = (OURS, REFERENCE, RAW)


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


def test_learners_are_asked_for_blocks_that_they_have() -> None:
    rows = filling.of_site(4_000)
    more = filling.after([rows], 10_000)
    assert (rows.learners, more.first_learner, more.learners, more.count) == (20, 21, 30, 6_000)
    for seed in range(50):
        learner, blocks = growth.some_blocks(Random(seed), [rows, more])
        number = learner.id - 1 if learner.id <= 20 else learner.id - 21
        assert {*blocks} <= {*blocks_of(number * 7 % COURSES)}
        assert len(blocks) == growth.BLOCKS


def test_the_machine_and_the_versions_are_stated() -> None:
    line = machine.line()
    assert all(word in line for word in ("A full run", "Linux", "Python 3.", "Django "))


def test_sections_compare_within_a_database() -> None:
    times = {name: summary([at]) for at, name in enumerate(NAMES, 1)}
    delays = {"0.0": {"added": 0.05, "times": dict.fromkeys(latency.OPERATIONS, times)}}
    assert "| get_many | reference ÷ ours | 2.00 |" in latency.section({"One": {"machine": "", "delays": delays}})
    sizes = {size: dict.fromkeys(growth.OPERATIONS, times) for size in ("10", "20")}
    text = growth.section({"One": {"machine": "", "times": sizes}})
    assert "| get_many | raw | 3.00 (3.00–3.00) | 3.00 (3.00–3.00) | 1.00 |" in text


def test_an_iteration_is_compared_with_the_cursor() -> None:
    one = {"seconds": 2.0, "rows": 1000.0, "before": 50.0, "peak": 60.0}
    by_name = {name: {**one, "seconds": 1.0} if name == RAW else one for name in NAMES}
    text = iteration.section({"One": {"machine": "", "courses": {"1000": {"course": by_name}}}})
    assert "| One | ours | 1,000 | course | 2.00 | 2000.0 | 2.00 | 50 | 60 |" in text


def test_a_row_is_weighed_without_its_text() -> None:
    weights = {
        name: {"text": 700.0, "state": {"a": 800.0, "b": 60.0}, "history": {"c": 200.0, "d": 20.0}} for name in NAMES
    }
    text = storage.section(
        {"One": {"machine": "", "weights": weights, "updates": {OURS: {"in_place": 0.9, "wal": 1200}}}}
    )
    assert "| One | ours | 700 | 800 | 60 | 160 | 220 |" in text
    assert "| One | `b` | 60 |" in text
    assert "| One | ours | 90.0% | 1,200 |" in text


def test_learners_who_go_on_are_few_and_the_same_in_every_round() -> None:
    few, many = filling.of_site(5_000), filling.of_site(20_000)
    assert len({*storage.going_on(few)}) == few.learners // storage.ONE_IN
    assert len({*storage.going_on(many)}) == storage.LEARNERS
    assert storage.going_on(many) == storage.going_on(many)


def test_the_proxy_counts_round_trips_and_delays_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=_echo, args=(server,), daemon=True).start()
        address = ["127.0.0.1", str(server.getsockname()[1]), "1"]
        command = [sys.executable, "-m", "bench.proxy", *address]
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

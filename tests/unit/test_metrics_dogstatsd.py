"""DogStatsD: the real client library, and a real socket that receives its packets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from xblock_user_state.metrics.dogstatsd import DogStatsDSink

NAME = "DjangoXBlockUserStateClient.get_many.response_time"
LEVEL = "DjangoXBlockUserStateClient.outbox.depth"

Made = Callable[..., DogStatsDSink]


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(5)
        yield made


@pytest.fixture
def sink() -> Iterator[Made]:
    made: list[DogStatsDSink] = []

    def make(server: socket.socket | None = None, **options: Any) -> DogStatsDSink:
        address = {} if server is None else dict(zip(("host", "port"), server.getsockname(), strict=True))
        made.append(DogStatsDSink(**address, **options))
        return made[-1]

    yield make
    for each in made:
        each._statsd.close_socket()


def packets(server: socket.socket, at_most: int) -> list[str]:
    """Receive up to this many packets."""
    found = []
    with suppress(TimeoutError):
        for _ in range(at_most):
            found.append(server.recv(2000).decode())
            server.settimeout(0.2)
    return found


def test_counters_histograms_and_gauges(server: socket.socket, sink: Made) -> None:
    to = sink(server)
    to.count("DjangoXBlockUserStateClient.transaction.lost_races", 3, {"cause": "revision"})
    to.record(NAME, 1.5, {"scope": "user_state"})
    to.record(LEVEL, 7, {})
    assert [packet.strip() for packet in packets(server, 4)] == [
        "DjangoXBlockUserStateClient.transaction.lost_races:3|c|#cause:revision",
        f"{NAME}:1.5|h|#scope:user_state",
        f"{LEVEL}:7|g",
    ]


def test_a_prefix_and_tags_for_all(server: socket.socket, sink: Made) -> None:
    sink(server, prefix="campus", tags=["site:north"]).record(NAME, 2, {"scope": "preferences"})
    assert packets(server, 1)[0].strip() == f"campus.{NAME}:2|h|#scope:preferences,site:north"


def test_the_sampling_rate_is_the_sinks_and_gauges_are_not_sampled(server: socket.socket, sink: Made) -> None:
    to = sink(server, sample_rate=0.5)
    for _ in range(200):
        to.record(NAME, 2, {"scope": "user_state"})
    sampled = packets(server, 200)
    assert 50 < len(sampled) < 150
    assert {packet.strip() for packet in sampled} == {f"{NAME}:2|h|@0.5|#scope:user_state"}
    for _ in range(20):
        to.record(LEVEL, 1, {})
    assert [packet.strip() for packet in packets(server, 20)] == [f"{LEVEL}:1|g"] * 20


def test_a_unix_socket(tmp_path: Path, sink: Made) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "agent"))
        server.settimeout(5)
        sink(socket_path=str(tmp_path / "agent")).record(LEVEL, 1, {})
        assert packets(server, 1)[0].strip() == f"{LEVEL}:1|g"


def test_nobody_listens(server: socket.socket, sink: Made) -> None:
    to = sink(server)
    server.close()
    for _ in range(3):
        to.record(LEVEL, 1, {})


@pytest.mark.parametrize("rate", [0, -1, 1.01])
def test_an_impossible_sampling_rate_is_refused(rate: float, sink: Made) -> None:
    with pytest.raises(ValueError, match="sample_rate must be above 0 and at most 1"):
        sink(sample_rate=rate)

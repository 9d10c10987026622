"""``python -m demo``: the port that it takes."""

from __future__ import annotations

import socket
from argparse import ArgumentTypeError
from collections.abc import Iterator

import pytest

from demo.__main__ import listen, port_number

HOST = "127.0.0.1"


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server((HOST, 0)) as other:
        yield other.getsockname()[1]


def test_the_next_free_port_is_taken(busy: int) -> None:
    with listen(HOST, [busy, 0]) as server:
        assert server.server_port not in (busy, 0)


def test_a_port_that_is_named_and_busy_is_an_error(busy: int) -> None:
    with pytest.raises(OSError, match="in use"):
        listen(HOST, [busy])


def test_an_address_of_another_machine_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match="assign"):
        listen("192.0.2.1", [0, 0])


@pytest.mark.parametrize("text", ["99999", "65536", "-1", "8000.5", "http", ""])
def test_a_number_that_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"is not a port; give a number from 0 to 65535"):
        port_number(text)

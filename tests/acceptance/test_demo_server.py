"""The demo as a program: its start, and its answers to requests that go wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.db import connection

from tests.acceptance.demo_server import ROOT, DemoServer

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="it starts and answers alike on every database")


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m demo``, which is not expected to serve."""
    environment = {**os.environ, "DEMO_VAR": str(folder), "DJANGO_SETTINGS_MODULE": "tests.acceptance.demo_settings"}
    command = [sys.executable, "-m", "demo", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_busy_port_is_an_error_and_no_address_is_printed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = start(tmp_path, "--port", str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"The demo can't listen on 127.0.0.1, port {port}: Address already in use.\n"


def test_a_number_that_is_no_port_is_one_clear_line(tmp_path: Path) -> None:
    ended = start(tmp_path, "--port", "99999")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "argument --port: '99999' is not a port; give a number from 0 to 65535" in ended.stderr
    assert "Traceback" not in ended.stderr


def ask(server: DemoServer, path: str) -> tuple[int, str]:
    try:
        with urlopen(Request(server.url + path), timeout=30) as answer:  # noqa: S310 - our own address
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_static_files_are_served_and_missing_files_are_not_found(server: DemoServer) -> None:
    assert ask(server, "/static/host/style.css")[0] == 200
    for path in ("/static/", "/static/nope.js", "/static/host/"):
        status, page = ask(server, path)
        assert (path, status) == (path, 404)
        assert "<h1>Page not found</h1>" in page


REFUSED: Sequence[str] = (
    "/logout/",
    "/view-as/ada/",
    "/stop-viewing/",
    "/xblock/block-v1:Starfield+SKY101+2026+type@problem+block@torch/handler/xmodule_handler/problem_get",
)


@pytest.mark.parametrize("path", REFUSED)
def test_addresses_that_take_input_only_have_a_page_that_says_so(server: DemoServer, path: str) -> None:
    status, page = ask(server, path)
    assert status == 405
    assert "<h1>Nothing to see here</h1>" in page


def test_an_error_has_a_page_and_a_traceback_in_the_terminal(tmp_path: Path) -> None:
    with DemoServer(tmp_path, {"DATABASE_URL": f"sqlite:///{tmp_path}/demo.sqlite3"}) as server:
        (tmp_path / "demo.sqlite3").rename(tmp_path / "elsewhere.sqlite3")
        (tmp_path / "demo.sqlite3").touch()
        status, page = ask(server, "/units/eyes/")
        assert status == 500
        assert "<h1>Something went wrong</h1>" in page
        assert "Log in" not in page
        assert "Traceback (most recent call last)" in server.log
        assert "no such table" in server.log

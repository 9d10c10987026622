"""``make serve``: requests in progress are answered before the server stops, and calls leave no secret in its log."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.acceptance.demo_server import ROOT
from tests.acceptance.waiting import wait_until
from tests.factories import make_block
from tests.server_process import ServerProcess
from xblock_user_state.client import DjangoXBlockUserStateClient

MOON = make_block("moon")
SETTINGS = "tests.acceptance.serve_settings"


@pytest.fixture
def environment(child_environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**os.environ, **child_environment, "DEMO_VAR": str(tmp_path), "DJANGO_SETTINGS_MODULE": SETTINGS}


@pytest.fixture
def server(transactional_db: None, environment: dict[str, str], tmp_path: Path) -> Iterator[ServerProcess]:
    command = ["-m", "demo.service_site", "--port", "{port}"]
    with ServerProcess(command, ROOT, environment, tmp_path / "log", "/user-state/health/ready") as server:
        yield server


def issue_token(environment: dict[str, str]) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "django", "issue_token", "tool", "--scope", "state:write"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def put(server: ServerProcess, token: str) -> int:
    where = urlencode({"learner": "ada", "key": str(MOON)})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    address = f"{server.url}/user-state/v1/state?{where}"
    request = Request(address, b'{"answer": "a secret"}', headers, method="PUT")  # noqa: S310 - our own address
    with urlopen(request, timeout=60) as answer:  # noqa: S310
        return int(answer.status)


def accepts(server: ServerProcess) -> bool:
    address = urlsplit(server.url)
    try:
        socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_request_in_progress_is_answered_before_the_end(
    server: ServerProcess, environment: dict[str, str], tmp_path: Path
) -> None:
    token = issue_token(environment)
    with ThreadPoolExecutor(1) as callers:
        status = callers.submit(put, server, token)
        wait_until((tmp_path / "begun").exists)
        server.stop()
        wait_until(lambda: not accepts(server))
        assert not status.done()
        (tmp_path / "go-on").touch()
        assert status.result() == 200
    assert server.ended() == 0
    assert DjangoXBlockUserStateClient().get("ada", MOON).state == {"answer": "a secret"}
    assert "actor='tool' act=write" in server.log
    assert "a secret" not in server.log
    assert not [part for part in token.split(".") if part in server.log]

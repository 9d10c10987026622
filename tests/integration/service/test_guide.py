"""The guide to running the service, step by step, and its files for systemd and containers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import connection

from demo.service_site.__main__ import server
from tests.documentation import ROOT
from tests.integration.projects import Project
from tests.service_keys import FIRST

GUIDE = "docs/how-to/run-the-service.md"
PAGE = (ROOT / GUIDE).read_text()
SYSTEMD = shutil.which("systemd-analyze")
CALL = """
from django.test import Client
here = Client(HTTP_HOST="127.0.0.1", HTTP_AUTHORIZATION="Bearer {token}")
state = "/user-state/v1/state?learner=lti-tool&key=block-v1:Sky%2BAstro101%2B2026%2Btype@problem%2Bblock@moon"
print(here.get("/user-state/health/ready").status_code)
print(here.put(state, {{"answer": "B"}}, content_type="application/json").status_code)
print(here.get(state.replace("Astro101", "Other")).status_code)
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[str]:
    """Return the command lines of the page that run a program."""
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if line.startswith(program)]


def compose() -> Any:
    (text,) = blocks("yaml")
    return yaml.safe_load(text)


def make_keys(folder: Path) -> None:
    (folder / "keys").mkdir()
    if shutil.which("openssl") is None:
        (folder / "keys/2026.pem").write_text(FIRST.private)
        (folder / "keys/2026.public.pem").write_text(FIRST.public)
        return
    for line in commands("openssl"):
        subprocess.run(shlex.split(line), cwd=folder, check=True, capture_output=True)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the projects of the guides are on SQLite")
def test_the_guide_leads_to_a_call_with_a_token(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.follow(GUIDE)
    make_keys(tmp_path)
    project.manage("migrate")
    create, issue = commands("python manage.py createsuperuser") + commands("python manage.py issue_token")
    project.manage(*shlex.split(create)[2:])
    token = project.manage(*shlex.split(issue)[2:], SERVICE_SIGNING_KEY="keys/2026.pem").strip()
    assert project.manage("shell", "-v", "0", "-c", CALL.format(token=token)).split() == ["200", "200", "403"]


def options_of(command: list[str]) -> list[str]:
    """Return the options of the server that do not depend on the place: size and interface."""
    options = command[command.index("--interface") : -1]
    pairs = list(zip(options[::2], options[1::2], strict=True))
    return [f"{name} {value}" for name, value in pairs if name not in ("--host", "--port")]


def test_the_server_is_started_alike_everywhere() -> None:
    (console,) = (options_of(shlex.split(line)) for line in commands("granian"))
    (unit,) = (re.findall(r"^ExecStart=(.*)$", block, re.MULTILINE) for block in blocks("ini"))
    (container,) = (re.findall(r"^CMD (.*)$", block, re.MULTILINE) for block in blocks("dockerfile"))
    assert options_of(shlex.split(unit[0])) == options_of(json.loads(container[0])) == console
    assert options_of(server("127.0.0.1", 8010, 2)) == console


def test_supervisors_wait_longer_than_the_server_does() -> None:
    (limit,) = re.findall(r"--workers-kill-timeout (\d+)", " ".join(commands("granian")))
    service = compose()["services"]["service"]
    assert int(service["stop_grace_period"].removesuffix("s")) > int(limit)
    (unit,) = blocks("ini")
    (drain,), (stop,) = re.findall(r"sleep (\d+)", unit), re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(stop) > int(limit) + int(drain)
    assert set(service["depends_on"]) <= set(compose()["services"])


def test_no_secret_gets_into_a_container() -> None:
    (ignored,) = (block.split() for block in blocks("text") if "keys" in block.split())
    assert {"keys", ".env"} <= set(ignored)
    service = compose()["services"]["service"]
    assert all(volume.partition(":")[0].endswith(".public.pem") for volume in service["volumes"])
    # Docker's ports are open to the network, whatever the firewall says, and this one has no TLS.
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.skipif(SYSTEMD is None, reason="needs systemd")
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    (unit,) = blocks("ini")
    file = tmp_path / "user-state.service"
    # It looks for the programs.
    file.write_text(unit.replace("/srv/user-state/.venv/bin", str(Path(sys.executable).parent)))
    command = [str(SYSTEMD), "verify", "--man=no", str(file)]
    verified = subprocess.run(command, check=False, capture_output=True, text=True)
    # An unknown name is a warning only.
    assert (verified.returncode, verified.stderr) == (0, "")

"""The demo with a separate port and database: as users run it, and in several processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tests.server_process import ServerProcess

ROOT = Path(__file__).parent.parent.parent
PASSWORD = "night-sky"


class DemoServer(ServerProcess):
    """``python -m demo``."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        command = ["-m", "demo", "--port", "{port}"]
        super().__init__(command, ROOT, _variables(folder, environment), folder / "demo.log", "/login/")


class RemoteDemo(ServerProcess):
    """``python -m demo.remote``: the demo, and the service that keeps its learners' state."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        command = ["-m", "demo.remote", "--port", "{port}"]
        super().__init__(command, ROOT, _variables(folder, environment), folder / "remote.log", "/login/")


class PreforkedDemo(ServerProcess):
    """The demo in several processes: `tests.acceptance.preforked_demo`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        command = ["-m", "tests.acceptance.preforked_demo", "{port}"]
        super().__init__(command, ROOT, _variables(folder, environment), folder / "preforked.log", "/login/")


def _variables(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.demo_settings", "DEMO_VAR": str(folder)}
    return {**os.environ, **settings, **environment}

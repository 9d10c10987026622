"""The demo, run as users run it: a process with a separate port and database."""

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
        settings = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.demo_settings", "DEMO_VAR": str(folder)}
        super().__init__(
            ["-m", "demo", "--port", "{port}"],
            ROOT,
            {**os.environ, **settings, **environment},
            folder / "demo.log",
            "/login/",
        )

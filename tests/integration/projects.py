"""Django projects set up as the documentation says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import documentation
from tests.documentation import ROOT


class Project:
    """A Django project as ``startproject`` creates it; tests add the settings of a page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run("-m", "django", "startproject", "mysite", ".")

    def run(self, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "mysite.settings"}
        ended = subprocess.run(
            [sys.executable, *arguments], cwd=self.path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def manage(self, *arguments: str) -> str:
        return self.run("manage.py", *arguments)

    def add_settings(self, text: str) -> None:
        with (self.path / "mysite/settings.py").open("a") as settings:
            settings.write(text)

    def run_page(self, name: str, kind: str, names: str = "{}") -> None:
        self.manage("shell", "-c", f"from tests.documentation import run_page; run_page({name!r}, {kind!r}, {names})")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The quickstart's project, before ``migrate``."""
    made = Project(tmp_path)
    for example in documentation.examples_on(ROOT / "docs/quickstart.md"):
        if example.kind == "settings":
            made.add_settings(example.text)
    return made

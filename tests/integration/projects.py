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
    """A Django project as ``startproject`` creates it; tests add the settings and files of a page.

    With another `python` than ours, the project sees nothing of this environment but this repository's `tests`.
    """

    def __init__(self, path: Path, python: str = sys.executable) -> None:
        self.path = path
        self.python = python
        ours = os.environ.get("PYTHONPATH") if python == sys.executable else None
        paths = os.pathsep.join([str(ROOT), *filter(None, [ours])])
        self.environment = {**os.environ, "PYTHONPATH": paths, "DJANGO_SETTINGS_MODULE": "mysite.settings"}
        self.run("-m", "django", "startproject", "mysite", ".")

    def run(self, *arguments: str, **variables: str) -> str:
        ended = subprocess.run(
            [self.python, *arguments],
            cwd=self.path,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def manage(self, *arguments: str, **variables: str) -> str:
        return self.run("manage.py", *arguments, **variables)

    def add_settings(self, text: str) -> None:
        with (self.path / "mysite/settings.py").open("a") as settings:
            settings.write(text)

    def follow(self, name: str) -> None:
        """Add a page's settings and files."""
        for example in documentation.examples_on(ROOT / name):
            if example.kind == "settings":
                self.add_settings(example.text)
        documentation.write_files(name, self.path)

    def create_account(self, username: str, password: str) -> None:
        options = ["--noinput", "--username", username, "--email", ""]
        self.manage("createsuperuser", *options, DJANGO_SUPERUSER_PASSWORD=password)

    def run_page(self, name: str, kind: str, names: str = "{}") -> None:
        self.manage("shell", "-c", f"from tests.documentation import run_page; run_page({name!r}, {kind!r}, {names})")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The quickstart's project, before ``migrate``."""
    made = Project(tmp_path)
    made.follow("docs/quickstart.md")
    return made

"""The guide to a runtime, followed by somebody who has only the guide: a fresh environment, a project, and a browser.

The environment has exactly the packages of the guide's ``pip install``, in the releases of ``constraints/``: a release
of the day must not fail this test. One word of the line is replaced: the path of the clone is this work tree. The test
needs a package index.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.documentation import ROOT
from tests.integration.projects import Project
from tests.server_process import ServerProcess

GUIDE = "docs/how-to/bind-a-runtime.md"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PASSWORD = "red planet"
expect.set_options(timeout=30_000)


def install_line() -> list[str]:
    """Return the arguments of the guide's ``pip``, with this work tree in place of the path of a clone."""
    [line] = re.findall(r"^\$ pip (install .*)$", (ROOT / GUIDE).read_text(), re.MULTILINE)
    arguments = shlex.split(line)
    assert arguments.count("path/to/xblock-user-state") == 1
    return [str(ROOT) if argument == "path/to/xblock-user-state" else argument for argument in arguments]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment in which only the guide's line was run."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin/python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    environment["PIP_CONSTRAINT"] = str(ROOT / f"constraints/python{version}.txt")
    done = subprocess.run(
        [python, "-m", "pip", *install_line()], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return python


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, python: str) -> Project:
    project = Project(tmp_path_factory.mktemp("project"), python)
    project.follow(GUIDE)
    project.manage("migrate")
    assert "no issues" in project.manage("check")
    project.create_account("ada", PASSWORD)
    return project


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[ServerProcess]:
    # The path of the work tree is for the reading of the guide's sessions only.
    environment = {name: value for name, value in project.environment.items() if name != "PYTHONPATH"}
    arguments = ["manage.py", "runserver", "--noreload", "127.0.0.1:{port}"]
    log = project.path / "server.log"
    with ServerProcess(arguments, project.path, environment, log, "/login/", python=project.python) as server:
        yield server


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield chromium
        chromium.close()


class Reader:
    """A person in front of a browser."""

    def __init__(self, browser: Browser, server: ServerProcess) -> None:
        self.page: Page = browser.new_context().new_page()
        self.url = server.url
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        # Stylesheets of blocks load fonts from other servers.
        self.page.route("**/*", self._only_from_the_host)

    def _only_from_the_host(self, route: Route) -> None:
        if route.request.url.startswith(self.url):
            route.continue_()
        else:
            route.abort()

    def log_in(self) -> None:
        self.page.goto(f"{self.url}/login/")
        self.page.fill("#id_username", "ada")
        self.page.fill("#id_password", PASSWORD)
        self.page.get_by_role("button", name="Log in").click()

    def answer(self, planet: str, result: str) -> None:
        self.page.locator(".problem").get_by_text(planet).click()
        self.page.get_by_role("button", name="Submit").click()
        expect(self.page.locator(".notification-submit")).to_contain_text(result)

    def vote(self, planet: str) -> None:
        self.page.locator(".poll_answer", has_text=planet).locator(".button").click()

    def votes(self, planet: str, number: str) -> None:
        expect(self.page.locator(".poll_answer", has_text=planet).locator(".number")).to_contain_text(number)


def test_the_problem_and_the_poll_work_in_a_browser(project: Project, server: ServerProcess, browser: Browser) -> None:
    visitor = Reader(browser, server)
    visitor.page.goto(server.url)
    visitor.answer("Venus", "Incorrect")
    visitor.vote("Venus")
    visitor.votes("Venus", "1 (100")

    ada = Reader(browser, server)
    ada.log_in()
    ada.answer("Mars", "Correct")
    ada.vote("Mars")
    ada.votes("Mars", "1 (100")
    ada.page.reload()
    # Nobody knows how many visitors one person is, so the visitor's vote is counted for the visitor only.
    ada.votes("Mars", "1 (100")
    ada.votes("Venus", "0 (0")
    expect(ada.page.get_by_label("Mars")).to_be_checked()
    expect(ada.page.locator(".problem-progress")).to_contain_text("1/1 point")

    visitor.page.reload()
    expect(visitor.page.get_by_label("Venus")).to_be_checked()
    assert ada.errors == visitor.errors == []
    assert "Traceback" not in server.log
    project.run_page(GUIDE, "project")

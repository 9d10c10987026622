"""Visitors of the demo, each with a browser context."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.demo_server import PASSWORD
from tests.server_process import ServerProcess

KEY = "block-v1:Starfield+SKY101+2026+type@{}+block@{}"
TORCH = KEY.format("problem", "torch")
COURSE = "course-v1:Starfield+SKY101+2026"
SAME_PAGES = pytest.mark.skipif(connection.vendor != "sqlite", reason="the pages are the same on every database")
# A passing test takes no longer for it. Playwright's 5 s are too few while other tests keep all processors busy.
expect.set_options(timeout=30_000)


class Visitor:
    """A visitor in a separate browser context; logs in at once if they have a name."""

    def __init__(
        self, browser: Browser, server: ServerProcess, username: str | None = None, user_agent: str | None = None
    ) -> None:
        self._url = server.url
        self.page: Page = browser.new_context(user_agent=user_agent).new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        if username:
            self.open("/login/")
            self.log_in(username)

    def log_in(self, username: str) -> None:
        self.page.fill("#id_username", username)
        self.page.fill("#id_password", PASSWORD)
        self.page.get_by_role("button", name="Log in").click()

    def open(self, path: str) -> int:
        """Go to a page; return the response's status."""
        answer = self.page.goto(self._url + path)
        assert answer is not None
        return answer.status

    def open_history(self, username: str, key: str) -> Any:
        """Go to a learner's history in a block; return its revisions, newest first. Runs of small ones are unfolded."""
        self.open(f"/console/learners/{username}/{COURSE}/{key}/")
        self.page.evaluate("document.querySelectorAll('.xus-run').forEach(run => run.open = true)")
        return self.page.get_by_role("article")

    def block(self, name: str) -> Any:
        return self.page.locator(f"#block-{name}")

    def submit(self, name: str, result: str) -> None:
        self.block(name).get_by_role("button", name="Submit").click()
        expect(self.block(name).locator(".notification-submit")).to_contain_text(result)

    def choose(self, name: str, choice: str, result: str) -> None:
        self.block(name).get_by_text(choice).click()
        self.submit(name, result)

    def fill(self, name: str, text: str, result: str) -> None:
        self.block(name).locator("input[type=text]").fill(text)
        self.submit(name, result)

    def statuses(self, paths: list[str]) -> list[int]:
        """Request all of these at once; return the statuses."""
        ask = "paths => Promise.all(paths.map(path => fetch(path).then(answer => answer.status)))"
        found: list[int] = self.page.evaluate(ask, paths)
        return found

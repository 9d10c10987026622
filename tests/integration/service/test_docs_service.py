"""The examples of the service's page run: with curl, and as a program for node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from tests.documentation import DOCS
from tests.service_keys import SETTINGS, made_token
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import UserId
from xblock_user_state.service.grants import ACTIONS
from xblock_user_state.state.keys import parse_block

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (DOCS / "reference/service.md").read_text()
BLOCK = "block-v1:Sky+Astro101+2026+type@problem+block@moon"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def environment(ann: User, live_server: Any, settings: Settings) -> dict[str, str]:
    """The variables of the page, with the token of a superuser."""
    User.objects.create(username="host", is_superuser=True)
    settings.XBLOCK_USER_STATE = dict(SETTINGS)
    token = made_token(sub="host", scope=" ".join(ACTIONS))
    named = {"TOKEN": token, "AUTH": f"Authorization: Bearer {token}"}
    return {**os.environ, **named, "STATE": f"{live_server.url}/state", "BLOCK": BLOCK}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_examples_with_curl_answer_what_the_page_shows(environment: dict[str, str]) -> None:
    sessions = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    examples = [part for session in sessions for part in re.split(r"^\$ ", session, flags=re.MULTILINE) if part]
    assert len(examples) > 5
    for example in examples:
        command, _, shown = example.partition("\n")
        ended = subprocess.run(
            ["/bin/bash", "-c", command], env=environment, check=True, capture_output=True, text=True, timeout=60
        )
        assert TIME.sub("TIME", ended.stdout).strip() == TIME.sub("TIME", shown).strip()


NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_the_program_in_javascript_counts_an_attempt(environment: dict[str, str], ann: User, tmp_path: Path) -> None:
    [program] = re.findall(r"^```js\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "attempt.mjs"
    file.write_text(program)
    for revision in (1, 2):
        ended = subprocess.run(
            [str(NODE), file], env=environment, check=True, capture_output=True, text=True, timeout=60
        )
        assert ended.stdout == f"revision {revision}\n"
    key = parse_block("course-v1:Sky+Astro101+2026", BLOCK)
    assert DjangoXBlockUserStateClient().get(UserId(ann.pk), key).state == {"attempts": 2}

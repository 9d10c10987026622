"""The plugin on a stand-in for the platform, in a process of its own: its models belong to no other test."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest

from tests.documentation import ROOT


@pytest.mark.parametrize(
    ("module", "settings"), [("staged", "settings"), ("breaking", "settings"), ("apart", "settings_apart")]
)
def test_the_stages_on_a_stand_in_for_the_platform(module: str, settings: str) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": f"tests.openedx_platform.{settings}",
        "XBLOCK_USER_STATE_TEST_RUN": secrets.token_hex(4),
    }
    command = [sys.executable, "-X", "dev", "-m", "pytest", "-q", f"tests/openedx_platform/{module}.py"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr

"""Beside user models with keys of other types all calls and commands do the same.

``AUTH_USER_MODEL`` can't change within a process, so each model has a process and test databases of its own.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest

from tests.documentation import ROOT

# Among them are keys that are foreign keys: of a column that is no key, of a foreign key, of a parent.
MODELS = [
    "UuidPerson",
    "TextPerson",
    "BadgePerson",
    "ChainedPerson",
    "TextGrandchild",
    "Member",
]


@pytest.mark.parametrize("model", MODELS)
def test_calls_and_commands_beside(model: str) -> None:
    _run("everything", model)


def test_deletion_of_rows_that_belong_to_a_user() -> None:
    _run("children", "UuidPerson")


def _run(module: str, model: str) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.custom_users.settings",
        "TEST_USER_MODEL": model,
        "XBLOCK_USER_STATE_TEST_RUN": secrets.token_hex(4),
    }
    command = [sys.executable, "-X", "dev", "-m", "pytest", "-q", f"tests/custom_users/{module}.py"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr

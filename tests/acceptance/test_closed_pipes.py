"""Commands whose reader ends before they do: ``check_history | head``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from tests.factories import make_blocks
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModuleHistory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="no output depends on the database"),
]

# More than the buffers of a pipe and of Python hold.
BLOCKS = make_blocks(1000)


def ended_by_head(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Run a command whose reader ends at once; return the exit status and the error output."""
    # Python then writes at the end what fits its buffer.
    environment = {name: value for name, value in environment.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "django", *arguments]
        ended = subprocess.run(
            command, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    finally:
        os.close(writing)
    return ended.returncode, ended.stderr


@pytest.fixture
def missing_history() -> None:
    get_user_model().objects.create_user("ann")
    DjangoXBlockUserStateClient().set_many("ann", {block: {"a": 1} for block in BLOCKS})
    StudentModuleHistory.objects.all().delete()


@pytest.mark.usefixtures("missing_history")
def test_a_long_output_ends_with_status_1_and_without_a_word(child_environment: dict[str, str]) -> None:
    assert ended_by_head(child_environment, "check_history") == (1, "")


@pytest.mark.parametrize("command", ["check_history", "repair_history", "sweep_history", "migrate_all"])
def test_a_short_output_is_lost_without_a_word(child_environment: dict[str, str], command: str) -> None:
    assert ended_by_head(child_environment, command) == (0, "")


def test_an_error_is_still_told(child_environment: dict[str, str]) -> None:
    get_user_model().objects.create_user("ann")
    DjangoXBlockUserStateClient().set("ann", BLOCKS[0], {"a": 1})
    StudentModuleHistory.objects.all().delete()
    status, error = ended_by_head(child_environment, "check_history")
    assert status == 1
    assert error.startswith("CommandError: 1 rows disagree with their history: run repair_history --dry-run. ")

"""The default history moves to the extended one under load: readers always see each entry exactly once."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Q

from tests.acceptance.conftest import Start
from tests.acceptance.traffic import BLOCKS, begin
from tests.acceptance.waiting import finished, wait_until
from tests.factories import make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.history.outbox.shipping import ship
from xblock_user_state.models import HistoryOutbox, StudentModule, StudentModuleHistory

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", "student_module_history"]),
]

# Each learner, and whether their new entries go to the extended history.
WRITERS = {"ann": "extended", "ben": ""}
REVISIONS = 60


@pytest.fixture
def traffic(start: Start) -> list[subprocess.Popen[str]]:
    """Writers and readers at work on an existing history."""
    make_learners("ann", "ben", "cyd", "dan")
    client = DjangoXBlockUserStateClient()
    for name in (*WRITERS, "dan"):
        for number in range(REVISIONS):
            client.set_many(name, {block: {"n": number} for block in make_blocks(BLOCKS)})
    writers = [begin(start, "write", name, extended) for name, extended in WRITERS.items()]
    readers = [begin(start, "read", name) for name in ("ann", "ben", "dan")]
    return [*writers, *readers, begin(start, "churn", "cyd")]


def test_readers_see_each_entry_once_while_it_moves(start: Start, traffic: Any, tmp_path: Path) -> None:
    position = tmp_path / "position.json"
    copied = extended_model()._base_manager.using("student_module_history").count
    command = ["django", "backfill_extended_history", "--batch", "20", "--state-file", str(position)]

    # Kill the command in the middle of copying.
    first = start(*command, "--rate", "200")
    wait_until(lambda: position.exists() and json.loads(position.read_text())["after"] is not None, first)
    kill(first)
    assert "going on after learner" in finished(start(*command), moving=copied)
    assert not position.exists()

    # Kill the command in the middle of removing.
    before = StudentModuleHistory.objects.count()
    removing = start(*command, "--rate", "200", "--remove-source")
    wait_until(lambda: StudentModuleHistory.objects.count() < before - 40, removing)
    kill(removing)
    assert StudentModuleHistory.objects.exists()
    finished(start(*command, "--remove-source"), moving=StudentModuleHistory.objects.count)

    for process in traffic:
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGTERM)
    assert all(int(finished(process)) > 0 for process in traffic)
    assert_all_moved(start, [*command, "--remove-source"])


def assert_all_moved(start: Start, command: list[str]) -> None:
    while ship("default", Q(), 100).rows:
        pass
    finished(start(*command))
    assert not StudentModuleHistory.objects.exists()
    assert not HistoryOutbox.objects.exists()
    client = DjangoXBlockUserStateClient()
    revisions = {
        (row.student.username, row.block.usage_key): row.revision
        for row in StudentModule.objects.select_related("student", "block")
    }
    for (name, key), revision in revisions.items():
        (block,) = [block for block in make_blocks(BLOCKS) if str(block) == key]
        states = [entry.state or {} for entry in client.get_history(name, block)]
        assert [state["n"] for state in states] == list(range(revision - 1, -1, -1))
        assert len({state.get("life") for state in states}) == 1
    assert extended_model()._base_manager.using("student_module_history").count() == sum(revisions.values())


def kill(process: subprocess.Popen[str]) -> None:
    assert process.poll() is None, process.communicate()
    process.kill()
    process.wait()

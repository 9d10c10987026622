"""``archive_history`` beside writers, and killed with ``kill -9``: no entry is lost, none is doubled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django import Settings

from tests.acceptance.conftest import Manage, Start
from tests.acceptance.waiting import wait_until
from tests.factories import make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import HistoryWatermark, StudentModuleHistory

pytest.importorskip("pyarrow")

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("ann", "ben", "cyd", "dan")
BLOCKS = make_blocks(10)
REVISIONS = 5
CHANGES = 10


def test_no_entry_is_lost_and_none_is_doubled(start: Start, manage: Manage, settings: Settings, tmp_path: Path) -> None:
    archive = str(tmp_path / "archive")
    settings.XBLOCK_USER_STATE = {"HISTORY_ARCHIVE": archive}
    make_learners(*NAMES)
    client = DjangoXBlockUserStateClient()
    for name in NAMES:
        for number in range(REVISIONS):
            client.set_many(name, {block: {"n": number} for block in BLOCKS})
    before = histories(client)
    state_file = str(tmp_path / "position.json")
    command = ("archive_history", "--older-than", "0h", "--to", archive, "--state-file", state_file, "--rate", "200")

    for has_begun in (HistoryWatermark._base_manager.exists, lambda: rows() < len(before) * REVISIONS):
        process = start("django", *command)
        wait_until(has_begun, process)
        process.kill()
        process.wait()
        connections.close_all()
        assert histories(client) == before
    assert len(before) < rows()

    process = start("django", *command[:-2])
    for number in range(CHANGES):
        block = BLOCKS[number % len(BLOCKS)]
        client.set("ann", block, {"n": "changed", "number": number})
        entries = [entry._replace(archived=False) for entry in client.get_history("ann", block)]
        assert entries[1:] == before["ann", block]
    assert process.wait() == 0
    manage(*command[:-2])
    assert rows() == len(before)
    assert {key: entries[-REVISIONS:] for key, entries in histories(client).items()} == before
    manage("check_history")


def histories(client: DjangoXBlockUserStateClient) -> dict[tuple[str, Any], list[Any]]:
    return {
        (name, block): [entry._replace(archived=False) for entry in client.get_history(name, block)]
        for name in NAMES
        for block in BLOCKS
    }


def rows() -> int:
    return StudentModuleHistory._base_manager.count()

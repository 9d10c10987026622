"""``compact_history`` beside readers and writers, and killed with ``kill -9``: no entry is lost, none is doubled."""

from __future__ import annotations

from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.acceptance.conftest import Manage, Start
from tests.acceptance.waiting import wait_until
from tests.factories import make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.encoding import PACK
from xblock_user_state.history.entries import stores
from xblock_user_state.maintenance.backfill import Backfill

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

NAMES = ("ann", "ben", "cyd")
BLOCKS = make_blocks(20)
REVISIONS = 5
KILLS = 3
# Of the last process: it may end before a test has made more.
CHANGES = 10


@pytest.mark.parametrize(
    "databases", ["one", pytest.param("two", marks=pytest.mark.extended_history)], ids=lambda name: f"{name} databases"
)
def test_no_entry_is_lost_and_none_is_doubled(start: Start, manage: Manage, databases: str, tmp_path: Path) -> None:
    make_learners(*NAMES)
    client = DjangoXBlockUserStateClient()
    for name in NAMES:
        for number in range(REVISIONS):
            client.set_many(name, {block: {"n": number} for block in BLOCKS})
    if databases == "two":
        list(Backfill("default", 500, remove_source=True).pages())
    before = histories(client)
    command = ("compact_history", "--older-than", "0h", "--state-file", str(tmp_path / "position.json"))

    for _ in range(KILLS):
        process = start("django", *command)
        wait_until(partial(are_packed, packed() + 3), process)
        process.kill()
        process.wait()
        connections.close_all()
        assert histories(client) == before
    assert 0 < packed() < len(before)

    process = start("django", *command)
    for number, block in zip(range(CHANGES), cycle(BLOCKS)):
        client.set("ann", block, {"n": "changed", "number": number})
        entries = list(client.get_history("ann", block))
        assert [entry.revision for entry in entries] == [*range(REVISIONS + 1, 0, -1)]
        assert entries[1:] == before["ann", block]
    assert process.wait() == 0
    manage(*command)
    assert packed() == len(before)
    assert {key: entries[-REVISIONS:] for key, entries in histories(client).items()} == before
    assert f"with {len(before) * REVISIONS + CHANGES} entries were checked" in manage("check_history")


def histories(client: DjangoXBlockUserStateClient) -> dict[tuple[str, Any], list[Any]]:
    return {(name, block): list(client.get_history(name, block)) for name in NAMES for block in BLOCKS}


def packed() -> int:
    """Return the number of packs in all stores."""
    return sum(model._base_manager.using(alias).filter(encoding=PACK).count() for model, alias in stores("default"))


def are_packed(packs: int) -> bool:
    """Tell whether there are at least so many packs."""
    return packed() >= packs

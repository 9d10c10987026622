"""``check_history --state-file``, killed with ``kill -9``: it goes on, and counts each row and each fault once."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from django.db import connections

from tests.acceptance.conftest import Start
from tests.acceptance.waiting import wait_until
from tests.factories import make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

NAMES = ("ann", "ben")
BLOCKS = make_blocks(500)
KILLS = 2


def test_each_row_and_each_fault_is_counted_once(start: Start, tmp_path: Path) -> None:
    make_learners(*NAMES)
    for name in NAMES:
        DjangoXBlockUserStateClient().set_many(name, {block: {"n": 1} for block in BLOCKS})
    first, *_, last = StudentModule._base_manager.order_by("student_id", "block_id")
    StudentModuleHistory._base_manager.filter(student_id=first.student_id, block_id=first.block_id)._raw_delete(
        "default"
    )
    StudentModule._base_manager.filter(student_id=last.student_id, block_id=last.block_id)._raw_delete("default")
    connections.close_all()

    file = tmp_path / "place.json"
    # Small batches, so that each of the two stages has many moments.
    command = ("django", "check_history", "--state-file", str(file), "--batch", "10")
    places = [""]
    for _ in range(KILLS):
        process = start(*command)
        wait_until(partial(has_gone_on, file, places[-1]), process)
        process.kill()
        process.wait()
        places.append(file.read_text())
    assert len(set(places)) == KILLS + 1

    output, errors = start(*command).communicate()
    assert "going on in the" in output
    assert "999 rows with 998 entries were checked." in output
    assert "1 rows disagree with their history" in errors
    assert "1 entries belong to no state" in errors
    assert not file.exists()


def has_gone_on(file: Path, place: str) -> bool:
    """Tell whether the place of the check is another one, after some key."""
    return file.exists() and file.read_text() != place and json.loads(file.read_text())["after"] is not None

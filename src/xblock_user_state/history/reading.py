"""Reads the history of one learner and block."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from xblock_user_state.models import StudentModuleHistory
from xblock_user_state.state.encoding import decode_body
from xblock_user_state.state.keys import BlockId


def read_entries(database: str, student_id: Any, block: BlockId) -> Iterator[tuple[str | None, datetime]]:
    """Yield text and time of each entry, newest first. One statement."""
    entries = StudentModuleHistory.objects.using(database).filter(student_id=student_id, block_id=block.id)
    found = entries.order_by("-revision").values_list("encoding", "body", "created")
    return ((decode_body(encoding, body), created) for encoding, body, created in found)

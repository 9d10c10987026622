"""Appends history entries in the transaction that writes the state, for single and bulk writes alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connections

from xblock_user_state import conf
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.state.arguments import RowKey
from xblock_user_state.state.change import Row
from xblock_user_state.state.encoding import PLAIN, encode_body
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.base import Target
from xblock_user_state.store.tables import Table

_COLUMNS = ("block_id", "revision", "created", "encoding", "body", "grade", "max_grade")


def append(database: str, table: Table, student_id: Any, actor_id: Any, rows: Mapping[RowKey, Row]) -> None:
    """Append an entry for each of `rows` whose block's type is recorded. At most one statement.

    Only scope ``user_state`` has a history.
    """
    if table.model is not StudentModule:
        return
    entries = sorted(
        (key.id, row.revision, row.modified, PLAIN, encode_body(row.text), row.grade, row.max_grade)
        for key, row in rows.items()
        if isinstance(key, BlockId) and conf.is_recorded(key.block_type)
    )
    if entries:
        connection = connections[database]
        pinned = {"student_id": student_id, "actor_id": actor_id}
        dialect_of(connection).insert(Target(connection, StudentModuleHistory, _COLUMNS, pinned), entries)

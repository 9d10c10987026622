"""Copies this store's rows to the platform's tables again: before a site goes back, or after copies have failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from xblock.fields import Scope

from xblock_user_state.history.entries import all_rows
from xblock_user_state.maintenance.modified import rows_modified
from xblock_user_state.openedx.platform.mirror import copy_there_now, stage_of_row
from xblock_user_state.openedx.platform.old_rows import Address
from xblock_user_state.openedx.platform.stages import Stage
from xblock_user_state.state.keys import parse_block, row_key
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import Preferences, UserInfo, UserStateSummary


def copy_back(since: datetime) -> Iterator[bool]:
    """Make the platform's rows equal to ours where ours changed at `since` or later; yield whether each was copied.

    Only rows that this store serves and the platform has copies of. One transaction a row. A full scan of the four
    tables, because no index has a time. Rows that were deleted here are not seen.
    """
    for address in _changed(since):
        if address is None:
            yield False
        elif stage_of_row(address) is Stage.LEAD:
            yield copy_there_now(address)


def _changed(since: datetime) -> Iterator[Address | None]:
    """Yield the addresses of changed rows; ``None`` for a row whose block has no readable key."""
    for module in rows_modified(since):
        key = module.block_key
        yield None if key is None else Address(Scope.user_state, row_key(key, Scope.user_state), module.student_id)
    database = state_database()
    preferences = all_rows(Preferences, database).filter(modified__gte=since)
    for student_id, block_type in preferences.values_list("student_id", "block_type").iterator():
        yield Address(Scope.preferences, block_type, student_id)
    infos = all_rows(UserInfo, database).filter(modified__gte=since)
    for student_id in infos.values_list("student_id", flat=True).iterator():
        yield Address(Scope.user_info, None, student_id)
    summaries = all_rows(UserStateSummary, database).filter(modified__gte=since)
    for context_key, usage_key in summaries.values_list("block__context__key", "block__usage_key").iterator():
        try:
            key = parse_block(str(context_key), str(usage_key))
        except ValueError:
            yield None
            continue
        yield Address(Scope.user_state_summary, row_key(key, Scope.user_state_summary), None)

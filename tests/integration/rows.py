"""Stored rows, in a form that tests can compare."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import models

from xblock_user_state.history.reading import decode
from xblock_user_state.models import (
    Block,
    LearningContext,
    Preferences,
    StudentModule,
    StudentModuleHistory,
    UserInfo,
    UserStateSummary,
)
from xblock_user_state.store.databases import is_distributed

STATE_MODELS = (StudentModule, StudentModuleHistory, Preferences, UserInfo, UserStateSummary)


def rows_of(model: type[models.Model], **of: Any) -> list[dict[str, Any]]:
    """Return all rows of a table as dicts, in a fixed order."""
    rows = [
        {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}
        for row in model._base_manager.filter(**of).values()
    ]
    return sorted(rows, key=str)


def everything() -> dict[str, list[dict[str, Any]]]:
    """Return all stored rows of all learners."""
    return {model.__name__: rows_of(model) for model in STATE_MODELS}


def everything_and_keys() -> dict[str, list[dict[str, Any]]]:
    """Return all stored rows, with the registry of blocks and the users."""
    keys = {model.__name__: rows_of(model) for model in (Block, LearningContext, get_user_model())}
    return {**everything(), **keys}


def shift_times(rows: models.QuerySet[Any], name: str, change: timedelta) -> None:
    """Add `change` to a time of each row."""
    # Row by row, by values: Citus adds no interval to a column in an UPDATE.
    for key, time in rows.values_list("pk", name):
        rows.filter(pk=key).update(**{name: time + change})


def need_rows_here() -> None:
    """Skip a test that measures tables, if Citus has their rows on other servers."""
    if is_distributed("default"):
        pytest.skip("the rows and their statistics are on other servers")


def assert_history_is_gapless() -> None:
    """Check law 3 for every row of a recorded block type (``problem``)."""
    entries: dict[tuple[Any, int], list[StudentModuleHistory]] = {}
    for entry in StudentModuleHistory.objects.order_by("revision"):
        entries.setdefault((entry.student_id, entry.block_id), []).append(entry)
    for row in StudentModule.objects.filter(block__block_type="problem"):
        of_row = entries.pop((row.student_id, row.block_id), [])
        assert [entry.revision for entry in of_row] == [*range(1, row.revision + 1)]
        decode(of_row)
        last = of_row[-1]
        assert (last.state, last.grade, last.max_grade, last.created) == (
            row.state,
            row.grade,
            row.max_grade,
            row.modified,
        )
    assert entries == {}

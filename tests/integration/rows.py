"""Stored rows, in a form that tests can compare."""

from __future__ import annotations

from typing import Any

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

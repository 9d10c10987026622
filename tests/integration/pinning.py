"""Law 7 at run time: finds statements on learners' state or history without a single learner, and their modules.

Every integration test runs under `watched` (conftest), so it finds any statement that a test makes the package send.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db.backends.utils import CursorWrapper

from xblock_user_state.models import (
    AnsweredWrite,
    HistoryOutbox,
    HistoryWatermark,
    Preferences,
    StudentModule,
    StudentModuleHistory,
    UserInfo,
)

MODELS = (StudentModule, StudentModuleHistory, HistoryOutbox, HistoryWatermark, Preferences, UserInfo, AnsweredWrite)
OWNED = [*(model._meta.db_table for model in MODELS), "xblock_user_state_extended_history_studentmodulehistoryextended"]
# The modules that may send statements without a learner, also through functions of other modules.
ALLOWED = (
    "xblock_user_state.archive.",
    "xblock_user_state.history.outbox.backlog",
    "xblock_user_state.history.outbox.relay",
    # Asks a partition whether it has any entry.
    "xblock_user_state.history.partitions",
    "xblock_user_state.maintenance.",
    "xblock_user_state.openedx.",
    "xblock_user_state.store.iteration",
    # Ships as the relay does.
    "tests.relaying",
)
# Functions whose own statements name no learner, with the reason.
EXEMPT = {
    "entries_of": "it evaluates the queryset of state rows that its caller gives",
    "take_write_lock": "it takes SQLite's lock by a DELETE that matches no row; other databases get no statement",
}

_QUOTE = '[`"]'
_TABLES = re.compile(f"(?:FROM|JOIN|UPDATE) {_QUOTE}(?:{'|'.join(OWNED)}){_QUOTE}")
# Django compares a composite key as a whole, but on SQLite.
_KEY = rf", [^ ]*{_QUOTE}block_(?:id|type){_QUOTE}\) = \("
# On PostgreSQL the value stands in a query of its own, which hides it from the planner.
_PINS = re.compile(rf"{_QUOTE}student_id{_QUOTE}(?: = |{_KEY})(?:\(SELECT )?%s")


def pins_a_learner(sql: str, parameters: Sequence[Any] | None) -> bool:
    """Tell whether each part of a statement that reads or changes owned tables names the same single learner.

    Each row of an INSERT names its learner.
    """
    parts = len(_TABLES.findall(sql))
    if not parts:
        return True
    pins = [found.end() - len("%s") for found in _PINS.finditer(sql)]
    learners = {str((parameters or ())[sql.count("%s", 0, end)]) for end in pins}
    return len(pins) >= parts and len(learners) == 1


def sender() -> str | None:
    """Return the module of the package that sends the current statement.

    ``None`` if it may: an allowed module calls it, its function is exempt, or a test itself sends the statement.
    """
    frames = list(_frames())
    if any(module.startswith(ALLOWED) for module, _ in frames):
        return None
    # The function that sends the statement, and its caller: `delete_rows` sends for others.
    senders = [found for found in frames if found[0].startswith("xblock_user_state.")][:2]
    is_exempt = any(function in EXEMPT for _, function in senders)
    return senders[0][0] if senders and not is_exempt else None


def _frames() -> Iterator[tuple[str, str]]:
    """Yield module and function of the current calls, from the statement to the test."""
    frame = sys._getframe().f_back
    while frame:
        module = str(frame.f_globals.get("__name__", ""))
        is_test = module.startswith("tests.") and module != __name__
        if is_test and not module.startswith(ALLOWED):
            return
        yield module, frame.f_code.co_name
        frame = frame.f_back


@contextmanager
def watched(patch: Any) -> Iterator[list[str]]:
    """Collect the module and the text of each statement that breaks law 7, in all threads."""
    offences: list[str] = []
    execute = CursorWrapper.execute

    def watch(self: CursorWrapper, sql: Any, params: Any = None) -> Any:
        if not pins_a_learner(str(sql), params):
            module = sender()
            if module is not None:
                offences.append(f"{module}: {sql}")
        return execute(self, sql, params)

    patch.setattr(CursorWrapper, "execute", watch)
    yield offences

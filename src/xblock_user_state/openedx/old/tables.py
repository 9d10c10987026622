"""The platform's old tables: names, and the columns that the import reads."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

MODULES = "courseware_studentmodule"
HISTORY = "courseware_studentmodulehistory"
EXTENDED = "coursewarehistoryextended_studentmodulehistoryextended"
PREFERENCES = "courseware_xmodulestudentprefsfield"
INFO = "courseware_xmodulestudentinfofield"
SUMMARIES = "courseware_xmoduleuserstatesummaryfield"


class Module(NamedTuple):
    """The key columns of a state row."""

    id: int
    student_id: int
    course_id: str
    module_id: str
    module_type: str


class ModuleRow(NamedTuple):
    """The other columns of a state row. A time is ``None`` where the database has none that exists, as a zero date."""

    id: int
    state: str | None
    grade: float | None
    max_grade: float | None
    done: str
    created: datetime | None
    modified: datetime | None


class Entry(NamedTuple):
    """A history entry of one of the two tables."""

    table: str
    id: int
    student_module_id: int
    created: datetime | None
    state: str | None
    grade: float | None
    max_grade: float | None
    version: str | None


class FieldRow(NamedTuple):
    """A field of another scope. ``owner`` is a learner's id or the text of a usage key; ``block_type`` may be empty."""

    table: str
    id: int
    owner: int | str
    block_type: str
    field: str
    value: str
    created: datetime | None
    modified: datetime | None

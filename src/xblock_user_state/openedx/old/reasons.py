"""Reasons why a row of the old tables was not taken as it is. The report names one for each such row."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Reason(Enum):
    """A reason: its name in the report, whether the row was left out, and its meaning for the operator."""

    BROKEN_STATE = (
        False,
        "The state is no JSON object. The row is taken without a state; its score and times are kept.",
    )
    BROKEN_HISTORY = (False, "The state of a history entry is no JSON object. The entry is taken without a state.")
    BROKEN_FIELD = (True, "The value of a preference, of user info or of a summary is no JSON. The field is left out.")
    NAN_WORDS = (False, "The state holds NaN or Infinity. It is taken as it is; the platform of today can't read it.")
    NOT_A_KEY = (True, "The course key, the usage key or the block type can't be parsed or can't be stored.")
    CCX_KEYS_MISSING = (True, "The key belongs to a CCX: install edx-ccx-keys, the extra `openedx`, and import again.")
    KEY_COLLISION = (True, "Another block has the same 64-bit id.")
    MAPPED_KEY = (False, "The usage key belongs to another course. It is mapped into the row's course, as readers do.")
    CUT_KEY = (False, "A key fills its column of 255 characters, so its end may be missing. It is taken as it is.")
    WHITE_SPACE = (False, "A key has white space around it, such as a newline. The row is taken without it.")
    MODULE_TYPE = (False, "The column module_type is empty, cut, or another type than the key's. The key counts.")
    NO_USER = (True, "The learner has no account any more.")
    TWO_ROWS = (False, "Two rows are about one block. State, done and times are of the newer, the score is the higher.")
    HISTORY_WITHOUT_MODULE = (True, "The row that the history entry belongs to is gone, so nobody knows its learner.")
    HISTORY_BEHIND = (False, "The newest history entry is not what the row holds. One more entry holds it.")
    HISTORY_MISSING = (False, "A problem has no history. One entry is made from its row.")
    HISTORY_NOT_RECORDED = (False, "There is history of a block type that is not recorded here. It is taken.")
    ZERO_DATE = (False, "A time is missing or zero. Another time of the row stands in, or else the year 1970.")
    CREATED_AFTER_MODIFIED = (False, "The row was modified before it was created. Both times are taken as they are.")
    MODIFIED_BEFORE_HISTORY = (False, "The row is older than its newest history entry. It gets the entry's time.")
    BAD_SCORE = (False, "A grade or maximum is no finite number. It is left out.")
    BAD_DONE = (False, "The column done is none of na, f and i. The value is na.")
    OURS_CHANGED = (True, "This store's row was changed or deleted since its import. It stays; see --source-wins.")
    OURS_EXISTS = (True, "This store had the row before it was imported. It stays; see --source-wins.")
    GONE = (True, "The old row was deleted since its import, so --remove-gone removes this store's row.")
    SHARED_SUMMARY = (False, "All runs of a course share an old-style summary. Each run gets a copy.")
    NO_RUN = (True, "No learner has state in any run of the course of an old-style summary.")
    REFUSED = (True, "This store's database refuses the row. The detail has its error.")

    def __init__(self, is_left_out: bool, meaning: str) -> None:
        self.is_left_out = is_left_out
        self.meaning = meaning

    @property
    def code(self) -> str:
        """The name in the report."""
        return self.name.lower()


class Line(NamedTuple):
    """A line of the report: the old table, the row's id there, the reason, and the values that show it."""

    table: str
    id: int | str
    reason: Reason
    detail: str

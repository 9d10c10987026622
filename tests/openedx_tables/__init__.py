"""Rows of the old tables (`demo.old_tables`): every one that an import can stumble over, and a writer on them."""

from tests.openedx_tables.awkward import Case, Entry, KeptField, KeptModule, awkward
from tests.openedx_tables.writer import Change, change_modules

__all__ = [
    "Case",
    "Change",
    "Entry",
    "KeptField",
    "KeptModule",
    "awkward",
    "change_modules",
]

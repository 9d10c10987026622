"""The old tables of an Open edX site, built by SQL from their description, for tests and the benchmark.

`create` and `drop` make and remove them, `insert_module`, `insert_history` and `insert_field` fill them row by row,
`awkward` with every row that an import can stumble over, and `generate` with a whole site. `auth_user` is the host's.
"""

from tests.openedx_tables.awkward import Case, Entry, KeptField, KeptModule, awkward
from tests.openedx_tables.generator import generate
from tests.openedx_tables.rows import insert_field, insert_history, insert_module
from tests.openedx_tables.schema import ALL, EXTENDED, MAIN, create, drop, old_tables
from tests.openedx_tables.writer import Change, change_modules

__all__ = [
    "ALL",
    "EXTENDED",
    "MAIN",
    "Case",
    "Change",
    "Entry",
    "KeptField",
    "KeptModule",
    "awkward",
    "change_modules",
    "create",
    "drop",
    "generate",
    "insert_field",
    "insert_history",
    "insert_module",
    "old_tables",
]

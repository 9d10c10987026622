"""The old tables of an Open edX site, built by SQL from their description, for the demo, the benchmark and the tests.

`create` and `drop` make and remove them; `insert_module`, `insert_history` and `insert_field` fill them row by row, and
`generate` with a whole site. ``auth_user`` is the host's.
"""

from demo.old_tables.generator import generate
from demo.old_tables.rows import insert_field, insert_history, insert_module
from demo.old_tables.schema import ALL, EXTENDED, MAIN, create, drop, old_tables

__all__ = [
    "ALL",
    "EXTENDED",
    "MAIN",
    "create",
    "drop",
    "generate",
    "insert_field",
    "insert_history",
    "insert_module",
    "old_tables",
]

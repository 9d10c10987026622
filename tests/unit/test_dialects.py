"""A dialect is a small seam: thirteen verbs, which every vendor has."""

from __future__ import annotations

from inspect import isfunction

import pytest

from xblock_user_state.store.dialects import Dialect
from xblock_user_state.store.dialects.citus import Citus
from xblock_user_state.store.dialects.mysql import MySQL
from xblock_user_state.store.dialects.postgresql import PostgreSQL
from xblock_user_state.store.dialects.sqlite import SQLite

VERBS = {
    "failure",
    "fetch",
    "has_rolled_back",
    "id_table",
    "in_list",
    "insert",
    "insert_missing",
    "keyed",
    "max_keys",
    "pinned",
    "select_expression",
    "store",
    "store_at_once",
}


@pytest.mark.parametrize("dialect", [Dialect, Citus, MySQL, PostgreSQL, SQLite])
def test_the_public_methods_are_the_thirteen_verbs(dialect: type[Dialect]) -> None:
    methods = {name for name in dir(dialect) if isfunction(getattr(dialect, name)) and not name.startswith("_")}
    assert methods == VERBS

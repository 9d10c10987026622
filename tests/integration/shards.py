"""A stand-in for a cluster of Citus on one server of PostgreSQL: partitions by the learner instead of shards.

Both find the place of a row by a hash of the learner. So the plan of a statement shows how many shards it would need.
What Citus refuses, PostgreSQL runs; `refusals` knows Citus's rules as far as our statements come near them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from django.db import connection

from tests import citus
from tests.integration.interference import second_connection
from tests.integration.pinning import MODELS, OWNED, pins_a_learner
from xblock_user_state.models import Block, LearningContext
from xblock_user_state.store.dialects import distribution

Test = TypeVar("Test", bound=Callable[..., Any])

_SCHEMA, _SHARDS = "shards", 8
# Citus keeps a copy of these on each server, so a statement of one learner may join them.
_ON_EACH_SERVER = {model._meta.db_table for model in (Block, LearningContext)}
_TABLES = re.compile(r'\b(?:(?<!epoch )FROM|JOIN|UPDATE|INTO) "(\w+)"')
_SHARD = re.compile(rf"^(?:{'|'.join(OWNED)})_(\d)$")
# https://docs.citusdata.com/en/stable/develop/reference_workarounds.html, and the messages of Citus's router planner.
_RULES = {
    "a part writes": re.compile(r"\bAS \((?:INSERT|UPDATE|DELETE)\b"),
    "an INSERT selects its rows": re.compile(r"\bINSERT INTO [^;]*?\)\s+SELECT\b"),
    "the learner is hidden": re.compile(r'"student_id" = \(SELECT'),
    "a function is not immutable": re.compile(r"\b(?:now|random|clock_timestamp|statement_timestamp|nextval)\(", re.I),
}


ARE_THERE = connection.vendor == "postgresql" and not citus.URL


def on_shards(test: Test) -> Test:
    """Run a test where the stand-in is, with its tables made."""
    skip = pytest.mark.skipif(not ARE_THERE, reason="the stand-in for Citus is on PostgreSQL")
    return skip(pytest.mark.usefixtures("shards_made")(test))


@contextmanager
def made() -> Iterator[None]:
    """Make the tables of learners once more, partitioned, in a schema of their own."""
    # Apart from the test's connection, whose transaction is rolled back.
    with second_connection() as other, other.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {_SCHEMA}")
        for table in (model._meta.db_table for model in MODELS):
            columns = f'"{_SCHEMA}"."{table}" (LIKE "public"."{table}" INCLUDING ALL)'
            cursor.execute(f"CREATE TABLE {columns} PARTITION BY HASH (student_id)")
            for number in range(_SHARDS):
                cursor.execute(
                    f'CREATE TABLE "{_SCHEMA}"."{table}_{number}" PARTITION OF "{_SCHEMA}"."{table}" '
                    f"FOR VALUES WITH (MODULUS {_SHARDS}, REMAINDER {number})"
                )
    try:
        yield
    finally:
        with second_connection() as other, other.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA {_SCHEMA} CASCADE")


@contextmanager
def used(patch: Any) -> Iterator[None]:
    """Have this thread's connection use the partitioned tables, and the dialect for Citus."""
    patch.setitem(distribution._KNOWN, connection.alias, True)
    in_transaction = connection.in_atomic_block
    with connection.cursor() as cursor:
        cursor.execute(f"SET {'LOCAL' if in_transaction else 'SESSION'} search_path = {_SCHEMA}, public")
        # Of a schema that is not there, the search path says nothing.
        cursor.execute(f"SELECT '{_SCHEMA}.{MODELS[0]._meta.db_table}'::regclass")
    yield
    # Otherwise the end of the test's transaction takes it all back.
    if not in_transaction:
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(model._meta.db_table for model in MODELS)}")
            cursor.execute("RESET search_path")


@contextmanager
def checked() -> Iterator[list[str]]:
    """Collect the statements that Citus would refuse, or not send whole to one server, with the reasons."""
    faults: list[str] = []

    def check(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        touched = set(_TABLES.findall(sql))
        if touched & set(OWNED):
            reasons = [*refusals(sql, params or (), touched), *_several_shards(sql, params)]
            faults.extend(f"{reason}: {sql}" for reason in reasons)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(check):
        yield faults


def refusals(sql: str, parameters: Sequence[Any], touched: set[str]) -> Iterator[str]:
    """Yield the rules of Citus that a statement breaks."""
    yield from (reason for reason, rule in _RULES.items() if rule.search(sql))
    if strangers := touched - set(OWNED) - _ON_EACH_SERVER:
        yield f"{', '.join(sorted(strangers))} is on one server"
    if not pins_a_learner(sql, parameters):
        yield "a part names no learner, or another one"
    if sql.startswith("INSERT") and len(_learners(sql, parameters)) != 1:
        yield "the rows are not of one learner"


def _learners(sql: str, parameters: Sequence[Any]) -> set[Any]:
    """Return the learners of the rows of an INSERT, which come first in each row."""
    columns = sql.partition(")")[0].count(",") + 1
    return set(parameters[::columns])


def _several_shards(sql: str, params: Any) -> Iterator[str]:
    if sql.startswith("INSERT"):
        return
    driver: Any = connection.connection
    # Without Django's cursor, whose statements a test may count.
    with driver.cursor() as cursor:
        [[plan]] = cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params).fetchall()
    found = set(_shards((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
    if len(found) > 1:
        yield f"the plan has {len(found)} shards"


def _shards(node: dict[str, Any]) -> Iterator[str]:
    if shard := _SHARD.match(node.get("Relation Name", "")):
        yield shard[1]
    for child in node.get("Plans", ()):
        yield from _shards(child)

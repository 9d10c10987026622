"""Plans of statements: which index a database uses for a table, and with which condition."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connections

from xblock_user_state.models import HistoryOutbox, StudentModule, StudentModuleHistory

TABLES = [
    *(model._meta.db_table for model in (StudentModule, StudentModuleHistory, HistoryOutbox)),
    "xblock_user_state_extended_history_studentmodulehistoryextended",
]
_SCAN = re.compile(rf"SCAN (?:TABLE )?(?:{'|'.join(TABLES)})\b")
_INNERMOST = re.compile(r"\([^()]*\)")
_NO_ROW = '"student_id" IS NULL'
_PLANNED = re.compile(rf"^(?:SELECT|DELETE|UPDATE)\b.*(?:{'|'.join(TABLES)})\b", re.DOTALL)


@contextmanager
def planned() -> Iterator[list[str]]:
    """Collect the statements that read a table or an index from one end to the other, each with its plan.

    The database plans each statement just before it executes it. The first page of all rows in the order of an index is
    no scan: the database stops after the page.
    """
    scans: list[str] = []
    asking = False

    def explain(alias: str, sql: str, params: Any) -> None:
        nonlocal asking
        asking = True
        try:
            found = _scans(alias, sql, params)
        finally:
            asking = False
        scans.extend(f"{alias}: {each}\n  {sql}\n  {params}" for each in found)

    def wrapper_of(alias: str) -> Callable[..., Any]:
        def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            if not asking and _PLANNED.match(sql):
                explain(alias, sql, params)
            return execute(sql, params, many, context)

        return wrapper

    with ExitStack() as stack:
        for alias in connections:
            stack.enter_context(connections[alias].execute_wrapper(wrapper_of(alias)))
        yield scans


def _scans(alias: str, sql: str, params: Any) -> list[str]:
    """Return a description of each scan of a whole table or index in the plan of a statement."""
    vendor = connections[alias].vendor
    prefix = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN (FORMAT JSON)", "mysql": "EXPLAIN"}[vendor]
    with connections[alias].cursor() as cursor:
        cursor.execute(f"{prefix} {sql}", params)
        names = [column[0] for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    scans = {"sqlite": _of_sqlite, "postgresql": _of_postgresql, "mysql": _of_mysql}[vendor](rows)
    # SQLite knows that a column is never NULL, and jumps over the scan that it announces.
    if _NO_ROW in sql:
        return []
    outer = _without_subqueries(sql)
    is_first_page = " WHERE " not in outer and " LIMIT " in outer
    return [scan for scan in scans if not (is_first_page and re.search("index", scan, re.IGNORECASE))]


def _without_subqueries(sql: str) -> str:
    while (shorter := _INNERMOST.sub("", sql)) != sql:
        sql = shorter
    return sql


def _of_sqlite(rows: list[dict[str, Any]]) -> list[str]:
    # https://www.sqlite.org/eqp.html: SCAN visits all rows of a table or an index, SEARCH some of them.
    return [row["detail"] for row in rows if _SCAN.match(row["detail"])]


def _of_postgresql(rows: list[dict[str, Any]]) -> list[str]:
    [plan] = rows[0].values()
    found = json.loads(plan) if isinstance(plan, str) else plan
    return [*_nodes(found[0]["Plan"])]


def _nodes(node: dict[str, Any]) -> Iterator[str]:
    of_ours = node.get("Relation Name") in TABLES
    is_index = node["Node Type"] in ("Index Scan", "Index Only Scan")
    could_scan = (of_ours and (node["Node Type"] == "Seq Scan" or is_index)) or node["Node Type"] == "Bitmap Index Scan"
    if could_scan and "Index Cond" not in node:
        yield f"{node['Node Type']} {node.get('Relation Name') or node.get('Index Name')}"
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _of_mysql(rows: list[dict[str, Any]]) -> list[str]:
    # https://mariadb.com/kb/en/explain/: ALL reads the whole table, "index" a whole index.
    return [f"{row['type']} {row['table']}, key {row['key']}" for row in rows if row["type"] in ("ALL", "index")]

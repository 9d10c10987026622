"""Lays out a long statement in lines, clause by clause."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WIDTH = 118
_INDENT = "    "
_CLAUSE = re.compile(
    r" (?=(?:FROM|WHERE|LEFT JOIN|INNER JOIN|ORDER BY|VALUES|SELECT|RETURNING|FOR UPDATE|LIMIT|INSERT|COMMIT"
    r"|ON CONFLICT|ON DUPLICATE KEY UPDATE|DO UPDATE SET|(?<!DO UPDATE )SET|UNION ALL)\b|(?<=, )\w+ AS \()"
)
# A query of a parameter alone is no query to lay out.
_QUERY = re.compile(r"\((?=SELECT (?!%s)|INSERT|UPDATE)")
_BREAK = re.compile(r"(?<=,) | (?=AND\b|OR\b)")


def laid_out(sql: str, indent: str = "") -> Iterator[str]:
    """Yield the lines of a statement. Only white space differs from the statement."""
    for clause in _clauses(sql):
        if len(indent + clause) <= _WIDTH:
            yield indent + clause
        elif query := _long_query(clause):
            yield indent + clause[: query.start]
            yield from laid_out(clause[query.start : query.stop], indent + _INDENT)
            yield from laid_out(clause[query.stop :], indent)
        else:
            yield from _filled(clause, indent)


def _long_query(clause: str) -> slice | None:
    """Return the place of the first query in parentheses that is too long for a line."""
    found = _QUERY.search(clause)
    if found is None:
        return None
    stop = next(at for at, depth in enumerate(_depths(clause)) if at > found.end() and depth == 0)
    return slice(found.end(), stop) if stop - found.end() > _WIDTH // 2 else None


def _filled(clause: str, indent: str) -> Iterator[str]:
    """Yield lines that end after a comma or before a conjunction, outside of parentheses where possible."""
    line = ""
    for piece in _pieces(clause, 0):
        if line and len(f"{indent}{line} {piece}") > _WIDTH:
            yield indent + line
            line = _INDENT + piece
        else:
            line = f"{line} {piece}" if line else piece
    yield indent + line


def _pieces(text: str, depth: int) -> Iterator[str]:
    if len(text) <= _WIDTH - 2 * len(_INDENT) or depth > 1:
        yield text
        return
    depths = list(_depths(text))
    start = 0
    for found in _BREAK.finditer(text):
        if depths[found.start()] <= depth:
            yield from _pieces(text[start : found.start()], depth + 1)
            start = found.end()
    yield from _pieces(text[start:], depth + 1)


def _clauses(sql: str) -> Iterator[str]:
    depths = list(_depths(sql))
    start = 0
    for found in _CLAUSE.finditer(sql):
        if depths[found.start()] == 0:
            yield sql[start : found.start()]
            start = found.end()
    yield sql[start:]


def _depths(sql: str) -> Iterator[int]:
    """Yield the depth of parentheses at each character; a closing one counts as outside."""
    depth = 0
    for character in sql:
        depth -= character == ")"
        yield depth
        depth += character == "("

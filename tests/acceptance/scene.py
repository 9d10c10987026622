"""Blocks that the tests write to, and the amount of work for each database."""

from __future__ import annotations

from django.db import connection
from opaque_keys.edx.keys import CourseKey, UsageKey

from tests.factories import COURSE, make_block


def problems(name: str, count: int, course: CourseKey = COURSE) -> list[UsageKey]:
    """Return the keys of blocks of a type whose history is recorded."""
    return [make_block(f"{name}-{number}", course=course) for number in range(count)]


def workload(*, servers: int, sqlite: int) -> int:
    """Return the amount of work for this database. SQLite allows one writer at a time, so it gets less."""
    return sqlite if connection.vendor == "sqlite" else servers

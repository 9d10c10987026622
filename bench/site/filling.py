"""Bulk SQL that fills tables, so that no contender's own code influences the rows that it starts with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import Any

import simplejson
from django.db import connection

from bench.site import data

SETTLE_SECONDS = 30
"""Time limit for writing dirty pages to the disk."""

PIECE = 100_000
"""Rows that a contender gets in its turn."""

FEW_PAGES = 50
"""Number of dirty pages that no longer disturbs a measurement."""

# SQL for the number of a block. On a site each learner has two courses; in a course all learners have the same blocks.
_SITE = "(({learner} * 7 + {slot} {div} {blocks}) % {courses}) * {blocks} + {slot} % {blocks}"
_COURSE = "{slot}"


@dataclass(frozen=True)
class Rows:
    """States of learners who work side by side, all with the same number of blocks in the order of `blocks`."""

    count: int
    learners: int
    blocks: str
    first_learner: int = 1
    before: int = 0
    """Rows of these learners that come first, and are not among the `count` rows."""

    def pieces(self) -> Iterator[Rows]:
        """Yield these rows a piece at a time."""
        for before in range(0, self.count, PIECE):
            yield replace(self, before=before, count=min(PIECE, self.count - before))

    def insert(self, table: str, columns: Mapping[str, str]) -> None:
        """Insert all rows by one statement.

        `columns` maps a column to its SQL, over ``q.learner``, ``b`` (`bench_block`) and ``s`` (`bench_state`).
        """
        names = ", ".join(connection.ops.quote_name(name) for name in columns)
        # STRAIGHT_JOIN makes MariaDB start with q, so that the rows arrive in the order of q.
        select = "SELECT STRAIGHT_JOIN" if connection.vendor == "mysql" else "SELECT"
        _execute(
            f"INSERT INTO {table} ({names}) {select} {', '.join(columns.values())} FROM ({self._numbered()}) AS q"
            " JOIN bench_block AS b ON b.n = q.block JOIN bench_state AS s ON s.n = q.state"
        )

    def _numbered(self) -> str:
        division = "DIV" if connection.vendor == "mysql" else "/"
        learner, slot = f"i % {self.learners}", f"(i {division} {self.learners})"
        names = {"learner": f"({learner})", "slot": slot, "div": division}
        block = self.blocks.format(**names, blocks=data.BLOCKS_OF_COURSE, courses=data.COURSES)
        return (
            f"SELECT {self.first_learner} + {learner} AS learner, {block} AS block, i % {data.STATES} AS state"
            f" FROM {_series(self.count, self.before)}"
        )


def of_site(count: int) -> Rows:
    """Return the rows of a site on which each learner has all blocks of two courses."""
    return Rows(count, -(-count // (2 * data.BLOCKS_OF_COURSE)), _SITE)


def of_course(count: int, learners: int) -> Rows:
    """Return rows in the first blocks of the first course."""
    return Rows(count, learners, _COURSE)


def after(parts: Sequence[Rows], count: int) -> Rows:
    """Return the rows of new learners that make the site grow from `parts` to `count` rows."""
    grown = of_site(count - sum(part.count for part in parts))
    return replace(grown, first_learner=parts[-1].first_learner + parts[-1].learners)


def prepare() -> None:
    """Create and fill the tables of blocks and states that `Rows` joins."""
    key = "varchar(255) COLLATE ascii_bin" if connection.vendor == "mysql" else "varchar(255)"
    _execute(
        f"CREATE TABLE bench_block (n int PRIMARY KEY, id bigint, usage_key {key}, course_id bigint, course {key})"
    )
    _execute("CREATE TABLE bench_state (n int PRIMARY KEY, compact text, spaced text)")
    blocks = (block for course in range(data.COURSES) for block in data.blocks_of(course))
    _insert("bench_block", [(n, one.id, one.usage_key, one.course_id, one.course_key) for n, one in enumerate(blocks)])
    states = data.states(0, data.STATES)
    _insert("bench_state", [(n, _compact(state), simplejson.dumps(state)) for n, state in enumerate(states)])
    analyze(["bench_block", "bench_state"])


def learners(count: int) -> None:
    """Create the missing ones of the first `count` users."""
    columns = "id, username, password, first_name, last_name, email, is_superuser, is_staff, is_active, date_joined"
    name = "concat('learner', i + 1)" if connection.vendor == "mysql" else "'learner' || (i + 1)"
    _execute(
        f"INSERT INTO auth_user ({columns}) SELECT i + 1, {name}, '', '', '', '', false, false, true, now()"
        f" FROM {_series(count)} WHERE NOT EXISTS (SELECT 1 FROM auth_user WHERE id = i + 1)"
    )
    analyze(["auth_user"])


def analyze(tables: Iterable[str]) -> None:
    """Update the planner's statistics, as a server does by itself some time after a bulk insert."""
    for table in tables:
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM ANALYZE {table}" if connection.vendor == "postgresql" else f"ANALYZE TABLE {table}")
            if connection.vendor == "mysql":
                cursor.fetchall()


def is_server() -> bool:
    """Tell whether the database is a server's, which plans and writes in the background."""
    return connection.vendor != "sqlite"


def settle() -> None:
    """Wait until the filled pages are on the disk; otherwise the server writes them while calls are timed."""
    if connection.vendor == "postgresql":
        _execute("CHECKPOINT")
        return
    _execute(
        "SET @dirty = @@GLOBAL.innodb_max_dirty_pages_pct, @pages = @@GLOBAL.innodb_io_capacity,"
        " GLOBAL innodb_max_dirty_pages_pct = 0, GLOBAL innodb_io_capacity = 50000"
    )
    deadline = monotonic() + SETTLE_SECONDS
    while _dirty_pages() > FEW_PAGES and monotonic() < deadline:
        sleep(0.1)
    _execute("SET GLOBAL innodb_max_dirty_pages_pct = @dirty, GLOBAL innodb_io_capacity = @pages")


def _dirty_pages() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")
        return int(cursor.fetchone()[1])


def _series(count: int, before: int = 0) -> str:
    last = before + count - 1
    if connection.vendor == "mysql":
        return f"(SELECT seq AS i FROM seq_{before}_to_{last}) AS numbers"
    return f"generate_series({before}, {last}) AS i"


def _compact(state: data.State) -> str:
    return simplejson.dumps(state, separators=(",", ":"))


def _insert(table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    places = ", ".join(["%s"] * len(rows[0]))
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} VALUES ({places})", rows)


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)

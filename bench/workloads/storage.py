"""Bytes of a row, and bytes that an update writes."""

from __future__ import annotations

from pathlib import Path
from random import Random
from time import sleep
from typing import Any

from django.db import connection

from bench.contenders import ALL, WARM
from bench.contenders.base import Contender
from bench.page.report import Results
from bench.site import machine, scale
from bench.site.data import BLOCKS_OF_COURSE, COURSES, attempt, blocks_of, learner
from bench.site.filling import Rows, analyze, of_site
from bench.site.scale import BLOCKS
from bench.site.sizes import parts_of
from bench.workloads.stage import set_stage

# Most rows of a site are at rest: at most 10 learners and at most one in five go on working.
LEARNERS = 10
ONE_IN = 5

ROUNDS = 4


def measure(_folder: Path) -> Results:
    """Measure the tables of each contender, then rounds of updates by some of the learners."""
    rows = of_site(scale.chosen().storage)
    found = set_stage([name for name in ALL if name not in WARM], rows, rows.learners)
    return {
        "machine": machine.line(),
        "rows": rows.count,
        "weights": {name: _weights(contender, rows.count) for name, contender in found.items()},
        "updates": {name: _updates(contender, rows) for name, contender in found.items()} if _has_figures() else {},
    }


def _has_figures() -> bool:
    """Tell whether the database counts updates and log bytes by table. MariaDB does not."""
    return connection.vendor == "postgresql"


def _weights(contender: Contender, rows: int) -> dict[str, Any]:
    state, history = contender.tables
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT avg(octet_length(state)) FROM {state}")
        text = float(cursor.fetchone()[0])
    bytes_a_row = {table: {part: size / rows for part, size in parts_of(table).items()} for table in (state, history)}
    return {"text": text, "state": bytes_a_row[state], "history": bytes_a_row[history]}


def _updates(contender: Contender, rows: Rows) -> dict[str, float]:
    """Return the figures of the last round: in the first rounds, pages are still as full as bulk inserts left them."""
    found = {}
    for number in range(ROUNDS):
        before = _counted(contender)
        writes = _update_all(contender, rows, number + 2)
        after = _counted(contender)
        updated, in_place, wal = (new - old for new, old in zip(after, before, strict=True))
        found = {"in_place": in_place / updated, "wal": wal / writes}
        # Stands for autovacuum, which would start only after a while.
        analyze(contender.tables)
    return found


def _update_all(contender: Contender, rows: Rows, number: int) -> int:
    random, learners = Random(number), active_learners(rows)
    for at in learners:
        for start in range(0, BLOCKS_OF_COURSE, BLOCKS):
            blocks = blocks_of(at * 7 % COURSES)[start : start + BLOCKS]
            contender.set_many(learner(at), {block: attempt(random, number) for block in blocks})()
    return len(learners) * BLOCKS_OF_COURSE


def active_learners(rows: Rows) -> list[int]:
    """Return the same random learners in every round. Neighbours would share pages that no other learner uses."""
    return Random(0).sample(range(rows.learners), min(LEARNERS, rows.learners // ONE_IN))


def _counted(contender: Contender) -> tuple[int, int, int]:
    """Return the state table's updates, its heap-only updates, and the position in the write-ahead log in bytes."""
    # A session reports its counts when it ends.
    contender.disconnect()
    connection.close()
    sleep(0.3)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n_tup_upd, n_tup_hot_upd, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
            " FROM pg_stat_user_tables WHERE relname = %s",
            [contender.tables[0]],
        )
        updated, in_place, wal = cursor.fetchone()
    return updated, in_place, wal

"""What a row weighs, and what an update writes to the disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from time import sleep
from typing import Any

from django.db import connection

from bench import machine, scale
from bench.contenders import ALL, OURS, REFERENCE, WARM
from bench.contenders.base import Contender
from bench.data import BLOCKS_OF_COURSE, COURSES, attempt, blocks_of, learner
from bench.filling import Rows, analyze, of_site
from bench.report import Results, table
from bench.sizes import parts_of
from bench.stage import set_stage

BLOCKS = 10
LEARNERS = 10
ONE_IN = 5
"""How many of the learners go on, and what part of them at most: most rows of a site are at rest."""

ROUNDS = 4


def measure(_folder: Path) -> Results:
    """Weigh the tables of each contender, then update rows of some learners round after round."""
    rows = of_site(scale.chosen().storage)
    found = set_stage([name for name in ALL if name not in WARM], rows, rows.learners)
    return {
        "machine": machine.line(),
        "rows": rows.count,
        "weights": {name: _weights(contender, rows.count) for name, contender in found.items()},
        "updates": {name: _updates(contender, rows) for name, contender in found.items()} if _has_figures() else {},
    }


def section(results: Mapping[str, Results]) -> str:
    """Return a table of the weights, and one of what updates write."""
    weights = [row for database, of in results.items() for row in _weight_rows(database, of)]
    parts = [row for database, of in results.items() for row in _part_rows(database, of)]
    updates = [row for database, of in results.items() for row in _update_rows(database, of)]
    update_heads = ("database", "who", "updates in place (heap-only)", "WAL bytes a block")
    texts = [
        next(iter(results.values()))["machine"],
        "Bytes of a row of the state's table, with its share of pages that are partly empty:",
        table(("database", "who", "text", "table", "indexes", "all beyond the text", "history entry"), weights),
        "The same by table and index:",
        table(("database", "table and index", "bytes a row"), parts),
    ]
    if updates:
        texts += [f"Updates of {BLOCKS} blocks in steady state:", table(update_heads, updates)]
    return "\n\n".join(texts)


def _has_figures() -> bool:
    """Tell whether the database counts what is asked for; MariaDB has neither of them for a table."""
    return connection.vendor == "postgresql"


def _weights(contender: Contender, rows: int) -> dict[str, Any]:
    state, history = contender.tables
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT avg(octet_length(state)) FROM {state}")
        text = float(cursor.fetchone()[0])
    weigh = {table: {part: size / rows for part, size in parts_of(table).items()} for table in (state, history)}
    return {"text": text, "state": weigh[state], "history": weigh[history]}


def _updates(contender: Contender, rows: Rows) -> dict[str, float]:
    """Return the figures of the last round: in the first ones pages are still as full as they were filled."""
    found = {}
    for number in range(ROUNDS):
        before = _counted(contender)
        writes = _update_all(contender, rows, number + 2)
        after = _counted(contender)
        updated, in_place, wal = (new - old for new, old in zip(after, before, strict=True))
        found = {"in_place": in_place / updated, "wal": wal / writes}
        # What the server does by itself after a while.
        analyze(contender.tables)
    return found


def _update_all(contender: Contender, rows: Rows, number: int) -> int:
    random, learners = Random(number), going_on(rows)
    for at in learners:
        for start in range(0, BLOCKS_OF_COURSE, BLOCKS):
            blocks = blocks_of(at * 7 % COURSES)[start : start + BLOCKS]
            contender.set_many(learner(at), {block: attempt(random, number) for block in blocks})()
    return len(learners) * BLOCKS_OF_COURSE


def going_on(rows: Rows) -> list[int]:
    """Return learners by chance, the same in every round: neighbours would have the same pages to themselves."""
    return Random(0).sample(range(rows.learners), min(LEARNERS, rows.learners // ONE_IN))


def _counted(contender: Contender) -> tuple[int, int, int]:
    """Return the updates of the state's table, those of them that were heap-only, and the position in the log."""
    # Sessions tell what they have counted when they end.
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


def _weight_rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for name in ALL:
        if name in of["weights"]:
            one = of["weights"][name]
            table_bytes, *indexes = one["state"].values()
            total, history = table_bytes + sum(indexes), sum(one["history"].values())
            figures = (one["text"], table_bytes, sum(indexes), total - one["text"], history)
            yield database, name, *(f"{figure:,.0f}" for figure in figures)


def _part_rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for one in (of["weights"][name] for name in (OURS, REFERENCE)):
        for part, size in {**one["state"], **one["history"]}.items():
            yield database, f"`{part}`", f"{size:,.0f}"


def _update_rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for name in ALL:
        if name in of["updates"]:
            one = of["updates"][name]
            yield database, name, f"{one['in_place']:.1%}", f"{one['wal']:,.0f}"

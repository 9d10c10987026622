"""A whole old site, by a seed: learners, courses, and each learner's rows and history.

The same arguments make the same rows on each database. Rows are written by COPY on PostgreSQL and in large INSERTs
elsewhere: about 20,000 rows a second on one core.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, transaction

from demo.old_tables.schema import (
    EXTENDED_HISTORY,
    HISTORY,
    INFO,
    MODULE,
    PREFERENCES,
    SUMMARY,
    columns_of,
)

# Of ten blocks in a row.
BLOCK_TYPES = ("sequential", "problem", "problem", "video", "problem", "poll", "problem", "video", "problem", "problem")
BLOCKS_OF_COURSE = 100
# Before this day entries went to the old history, and a submission made two of them.
EXTENDED_SINCE = datetime(2023, 1, 1, tzinfo=UTC)
FIRST_DAY = datetime(2021, 9, 1, tzinfo=UTC)
DAYS = 1000
ROWS_AT_ONCE = 2000

Row = tuple[Any, ...]


def generate(
    alias: str, learners: int, blocks: int, attempts: int, seed: int = 1, history_alias: str | None = None
) -> dict[str, int]:
    """Fill empty old tables: each learner has a row of each block, and each problem `attempts` submissions on average.

    Returns the number of rows of each table. A submission's state takes about 700 bytes. A course has 100 blocks; each
    second course has keys without a run.
    """
    rng = random.Random(seed)
    accounts = _learners(alias, learners)
    tables = _Tables(alias, history_alias or alias)
    keys = [_key(number) for number in range(blocks)]
    with transaction.atomic(alias), transaction.atomic(history_alias or alias):
        for learner in accounts:
            _fill(tables, learner, keys, attempts, rng)
        _summaries(tables, keys, learners, rng)
        tables.flush()
    return tables.counts


def _learners(alias: str, number: int) -> list[int]:
    model = get_user_model()
    users = model._default_manager.using(alias)
    names = [f"learner{n:07}" for n in range(1, number + 1)]
    users.bulk_create([model(username=name, password="!") for name in names], batch_size=500)
    ids = dict(users.filter(username__startswith="learner").values_list("username", "pk"))
    return [ids[name] for name in names]


def _key(number: int) -> tuple[str, str, str]:
    """Return the course, the key and the type of the block with this number."""
    course, block_type = number // BLOCKS_OF_COURSE, BLOCK_TYPES[number % len(BLOCK_TYPES)]
    if course % 2:
        return f"Sky/C{course}/2021", f"i4x://Sky/C{course}/{block_type}/b{number:032x}", block_type
    return (
        f"course-v1:Sky+C{course}+2021",
        f"block-v1:Sky+C{course}+2021+type@{block_type}+block@{number:032x}",
        block_type,
    )


class _Tables:
    """Rows that wait for their INSERT, by table; and the ids that come next."""

    def __init__(self, alias: str, history_alias: str) -> None:
        self._aliases = {EXTENDED_HISTORY: history_alias}
        self._alias = alias
        self._waiting: dict[str, list[Row]] = {}
        self.counts: dict[str, int] = {}

    def add(self, table: str, *values: Any) -> int:
        """Add a row; its id comes first. Return the id."""
        id_ = self.counts.get(table, 0) + 1
        self.counts[table] = id_
        waiting = self._waiting.setdefault(table, [])
        waiting.append((id_, *values))
        if len(waiting) == ROWS_AT_ONCE:
            self._write(table)
        return id_

    def flush(self) -> None:
        """Write all rows, and let the databases count ids on from theirs."""
        for table in self._waiting:
            self._write(table)
            connection = connections[self._alias_of(table)]
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {self.counts[table]})")

    def _alias_of(self, table: str) -> str:
        return self._aliases.get(table, self._alias)

    def _write(self, table: str) -> None:
        rows, self._waiting[table] = self._waiting[table], []
        if rows:
            _insert(self._alias_of(table), table, rows)


def _insert(alias: str, table: str, rows: Sequence[Row]) -> None:
    connection = connections[alias]
    names = ", ".join(columns_of(table))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            return
        adapt = connection.ops.adapt_datetimefield_value
        adapted = [[adapt(value) if isinstance(value, datetime) else value for value in row] for row in rows]
        places = ", ".join(["%s"] * len(rows[0]))
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", adapted)


def _fill(
    tables: _Tables, learner: int, keys: Sequence[tuple[str, str, str]], attempts: int, rng: random.Random
) -> None:
    begin = FIRST_DAY + timedelta(days=rng.randrange(DAYS), seconds=rng.randrange(86400))
    for number, (course, key, block_type) in enumerate(keys):
        first = begin + timedelta(minutes=20 * number, microseconds=rng.randrange(1_000_000))
        if block_type == "problem":
            _problem(tables, (key, course, learner), first, rng.randint(1, 2 * attempts - 1), rng)
        else:
            seen = first + timedelta(seconds=rng.randrange(3600))
            state = json.dumps(STATES[block_type](rng))
            tables.add(MODULE, block_type, key, course, state, None, None, "na", first, seen, learner)
    times = (begin, begin)
    tables.add(PREFERENCES, "speed", str(rng.choice([1.0, 1.25, 1.5])), *times, "video", learner)
    tables.add(PREFERENCES, "auto_advance", "true", *times, "video", learner)
    tables.add(INFO, "language", '"de"', *times, learner)


def _problem(tables: _Tables, of: tuple[str, str, int], first: datetime, attempts: int, rng: random.Random) -> None:
    """Add a row of a problem and the entries of its history, a submission each day."""
    key, course, learner = of
    problem = key[-32:]
    seed = rng.randrange(1000)
    entries: list[Row] = []
    state = json.dumps({"seed": seed, "input_state": {f"{problem}_2_1": {}}})
    entries.append((None, first, state, None, None))
    grade, time = 0.0, first
    for attempt in range(1, attempts + 1):
        time = first + timedelta(days=attempt - 1, seconds=attempt * 30)
        grade = float(rng.randint(0, 4))
        if time < EXTENDED_SINCE:
            time = time.replace(microsecond=0)
            entries.append((None, time, state, grade, 4.0))
        state = _submitted(problem, seed, attempt, grade, time, rng)
        entries.append((None, time, state, grade, 4.0))
    module = tables.add(MODULE, "problem", key, course, state, grade, 4.0, "na", first, time, learner)
    for entry in entries:
        tables.add(HISTORY if entry[1] < EXTENDED_SINCE else EXTENDED_HISTORY, *entry, module)


def _submitted(problem: str, seed: int, attempt: int, grade: float, time: datetime, rng: random.Random) -> str:
    """Return the state that a problem with two inputs has after a submission."""
    inputs = (f"{problem}_2_1", f"{problem}_3_1")
    answers = {inputs[0]: f"choice_{rng.randrange(5)}", inputs[1]: str(rng.randrange(10_000))}
    map_ = {
        name: {
            "correctness": "correct" if grade > 2 * number else "incorrect",
            "npoints": None,
            "msg": "",
            "hint": "",
            "hintmode": None,
            "queuestate": None,
            "answervariable": None,
        }
        for number, name in enumerate(inputs)
    }
    return json.dumps(
        {
            "seed": seed,
            "attempts": attempt,
            "done": True,
            "student_answers": answers,
            "correct_map": map_,
            "input_state": {name: {} for name in inputs},
            "last_submission_time": f"{time:%Y-%m-%dT%H:%M:%SZ}",
            "score": {"raw_earned": grade, "raw_possible": 4.0},
        }
    )


def _video(rng: random.Random) -> dict[str, Any]:
    return {
        "saved_video_position": f"00:{rng.randrange(60):02}:{rng.randrange(60):02}",
        "transcript_language": "en",
        "youtube_is_available": True,
        "bumper_last_view_date": None,
    }


def _poll(rng: random.Random) -> dict[str, Any]:
    return {"poll_answer": f"answer_{rng.randrange(4)}", "submissions_count": 1}


def _sequential(rng: random.Random) -> dict[str, Any]:
    return {"position": rng.randint(1, 9)}


STATES = {"video": _video, "poll": _poll, "sequential": _sequential}


def _summaries(tables: _Tables, keys: Sequence[tuple[str, str, str]], learners: int, rng: random.Random) -> None:
    for _course, key, block_type in keys:
        if block_type == "poll":
            votes = {f"answer_{number}": rng.randrange(learners + 1) for number in range(4)}
            tables.add(SUMMARY, "poll_answers", json.dumps(votes), FIRST_DAY, FIRST_DAY, key)

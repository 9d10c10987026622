"""A learner at work on an old site: changes of the old tables in the platform's statements, without end.

A worker of the acceptance tests can run it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connections, transaction

from demo.old_tables.rows import insert_history, insert_module
from demo.old_tables.schema import EXTENDED_HISTORY, MODULE

_COLUMNS = ("module_type", "module_id", "course_id", "student_id", "state", "grade", "max_grade", "created")


class Change(NamedTuple):
    """One committed change: the module's id, and the values that its row has now."""

    module: int
    values: dict[str, Any]


def change_modules(alias: str, seed: int = 1, history_alias: str | None = None) -> Iterator[Change]:
    """Yield each change right after its commit.

    Rows of `generate` are changed: states are saved, scores are set, states are reset to ``{}``, and learners open
    blocks for the first time. Each change of a problem makes an entry in the extended table, as in the platform: after
    the row is saved and in a transaction of its own, if it has an alias of its own.
    """
    rng = random.Random(seed)
    kinds: list[Callable[[random.Random, dict[str, Any]], dict[str, Any]]] = [_saved] * 6 + [_scored] * 2 + [_reset]
    while True:
        module = rng.randint(1, _newest(alias))
        with transaction.atomic(alias):
            values = _read(alias, module)
            if values is None:
                continue
            if rng.random() < 0.1:
                module, values = _opened(alias, rng, values)
            else:
                values.update(rng.choice(kinds)(rng, values), modified=datetime.now(UTC))
                _save(alias, module, values)
        if values["module_type"] == "problem":
            of_entry = {name: values[name] for name in ("state", "grade", "max_grade")}
            insert_history(history_alias or alias, module, EXTENDED_HISTORY, created=values["modified"], **of_entry)
        yield Change(module, values)


def _newest(alias: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT MAX(id) FROM {MODULE}")
        return int(cursor.fetchone()[0])


def _read(alias: str, module: int) -> dict[str, Any] | None:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(_COLUMNS)} FROM {MODULE} WHERE id = %s", [module])
        row = cursor.fetchone()
    return row and dict(zip(_COLUMNS, row, strict=True))


def _save(alias: str, module: int, values: dict[str, Any]) -> None:
    """Write all columns, as a model's `save` does: a change made since they were read is lost, as on the platform."""
    changed = {name: values[name] for name in ("state", "grade", "max_grade")}
    changed["modified"] = connections[alias].ops.adapt_datetimefield_value(values["modified"])
    places = ", ".join(f"{name} = %s" for name in changed)
    with connections[alias].cursor() as cursor:
        cursor.execute(f"UPDATE {MODULE} SET {places} WHERE id = %s", [*changed.values(), module])


def _saved(rng: random.Random, values: dict[str, Any]) -> dict[str, Any]:
    state = json.loads(values["state"] or "{}")
    state["attempts"] = state.get("attempts", 0) + 1
    state["answer"] = "answer " * rng.randrange(20)
    return {"state": json.dumps(state)}


def _scored(rng: random.Random, _values: dict[str, Any]) -> dict[str, Any]:
    return {"grade": float(rng.randrange(5)), "max_grade": 4.0}


def _reset(_rng: random.Random, _values: dict[str, Any]) -> dict[str, Any]:
    return {"state": "{}"}


def _opened(alias: str, rng: random.Random, like: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Insert the row of a block beside the block of the row `like`."""
    now = datetime.now(UTC)
    values = {
        **{name: like[name] for name in ("module_type", "course_id", "student_id")},
        "module_id": f"{like['module_id'][:-32]}{rng.randrange(16**32):032x}",
        "state": json.dumps({"seed": rng.randrange(1000)}),
        "grade": None,
        "max_grade": None,
        "created": now,
        "modified": now,
    }
    return insert_module(alias, **values), values

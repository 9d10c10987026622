"""The limit on PostgreSQL: prepared statements through psycopg, one that reads and one that writes everything.

The writing statement counts the written rows and divides by zero if one is missing. That rolls it back, so it needs no
transaction around it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import psycopg
from opaque_keys.edx.keys import UsageKey

from bench.contenders import codec
from bench.contenders.raw import DELETED, HISTORY, STATE, LostRace, RawContender, Stored, Warm, Written, address
from bench.site.data import Block, Learner, State

_READ = f"SELECT block_id, revision, state FROM {STATE} WHERE student_id = $1 AND block_id = ANY($2::bigint[])"
_FETCH = f"SELECT block_id, state, modified FROM {STATE} WHERE student_id = $1 AND block_id = ANY($2::bigint[])"
_ENTRIES = f"SELECT revision, created, body FROM {HISTORY} WHERE student_id = $1 AND block_id = $2 ORDER BY 1 DESC"

# Compact JSON has no line breaks, so a text that is split at line breaks replaces an array, whose escapes are slower.
_NEW = (
    r"new AS (SELECT * FROM unnest($2::bigint[], $3::bigint[], string_to_array($4, E'\n')) AS n (id, revision, state))"
)
_RETURNED = "block_id, revision, modified, state, grade, max_grade"
_OF_ROW = ", ".join(f"old.{column}" for column in _RETURNED.split(", "))
_UPDATED = (
    f"updated AS (UPDATE {STATE} AS old SET state = new.state, revision = new.revision,"
    " modified = greatest($5, old.modified + interval '1 microsecond') FROM new WHERE old.student_id = $1"
    f" AND old.block_id = new.id AND old.revision = new.revision - 1 RETURNING {_OF_ROW})"
)
_CREATED = (
    f"created AS (INSERT INTO {STATE} (student_id, block_id, revision, state, created, modified)"
    f" SELECT $1, id, 1, state, $5, $5 FROM new WHERE revision = 1 RETURNING {_RETURNED})"
)
_DELETED = (
    f"deleted AS (UPDATE {STATE} AS old SET state = '{DELETED}', revision = old.revision + 1,"
    " modified = greatest($3, old.modified + interval '1 microsecond') WHERE old.student_id = $1"
    f" AND old.block_id = ANY($2::bigint[]) AND old.state <> '{DELETED}' RETURNING {_OF_ROW})"
)
_COURSE = f"""
    SELECT u.username, m.block_id, m.state, m.modified FROM {STATE} AS m JOIN auth_user AS u ON u.id = m.student_id
    WHERE m.block_id = ANY(%s) AND m.state IS NOT NULL AND m.state <> '{DELETED}'
"""
_RETRIED = (
    psycopg.errors.DivisionByZero,
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
ROWS_OF_FETCH = 5000


def _recorded(*sources: str) -> str:
    rows = " UNION ALL ".join(f"TABLE {source}" for source in sources)
    return (
        f"entries AS (INSERT INTO {HISTORY} (student_id, block_id, revision, created, encoding, body, grade, max_grade)"
        " SELECT $1, block_id, revision, modified, 0, convert_to(state, 'UTF8'), grade, max_grade"
        f" FROM ({rows}) AS rows RETURNING 1)"
    )


_COUNT = "SELECT 1 / (count(*) = $6)::int FROM entries"
_UPDATE = f"WITH {_NEW}, {_UPDATED}, {_recorded('updated')} {_COUNT}"
_CREATE = f"WITH {_NEW}, {_CREATED}, {_recorded('created')} {_COUNT}"
_BOTH = f"WITH {_NEW}, {_UPDATED}, {_CREATED}, {_recorded('updated', 'created')} {_COUNT}"
_DELETE = f"WITH {_DELETED}, {_recorded('deleted')} SELECT count(*) FROM entries"


class Raw(RawContender):
    """Uses psycopg on its own connection."""

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(**address(database="dbname"), autocommit=True)

    @cached_property
    def _execute(self) -> Callable[..., list[tuple[Any, ...]]]:
        cursor = psycopg.RawCursor(self.session)
        return lambda sql, *parameters: cursor.execute(sql, parameters, prepare=True, binary=True).fetchall()

    def read(self, learner_id: int, ids: Collection[int]) -> Stored:
        return {id_: (revision, text) for id_, revision, text in self._execute(_READ, learner_id, _array(ids))}

    def fetch(self, learner_id: int, ids: Collection[int]) -> list[tuple[Any, ...]]:
        return self._execute(_FETCH, learner_id, _array(ids))

    def write(self, learner_id: int, rows: Sequence[Written]) -> None:
        ids, revisions, texts = zip(*rows, strict=True)
        created = revisions.count(1)
        sql = _UPDATE if not created else _CREATE if created == len(rows) else _BOTH
        parameters = (_array(ids), _array(revisions), "\n".join(texts), datetime.now(UTC), len(rows))
        try:
            self._execute(sql, learner_id, *parameters)
        except _RETRIED as error:
            raise LostRace from error

    def delete(self, learner_id: int, ids: Collection[int]) -> None:
        self._execute(_DELETE, learner_id, _array(ids), datetime.now(UTC))

    def entries(self, learner: Learner, block: Block) -> list[State | None]:
        found = self._execute(_ENTRIES, learner.id, block.id)
        return [codec.decode(bytes(body).decode())[0] or None for _, _, body in found]

    def disconnect(self) -> None:
        super().disconnect()
        self.__dict__.pop("_execute", None)

    def iterate(self, blocks: dict[int, str]) -> Iterator[Any]:
        keys = {id_: UsageKey.from_string(usage_key) for id_, usage_key in blocks.items()}
        with self.session.transaction(), self.session.cursor("iteration") as cursor:
            cursor.itersize = ROWS_OF_FETCH
            for username, id_, text, modified in cursor.execute(_COURSE, [list(keys)], binary=True):
                yield username, keys[id_], codec.decode(text)[0], modified


class RawWarm(Warm, Raw):
    """`Raw` for a caller that has read the rows before."""


def _array(numbers: Iterable[int]) -> str:
    return f"{{{','.join(map(str, numbers))}}}"

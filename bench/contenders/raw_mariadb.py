"""The limit on MariaDB: mysqlclient, one statement that reads, and one compound statement that writes everything.

The compound statement counts the written rows and rolls back if one is missing, so a write is one round trip.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import MySQLdb
from MySQLdb.cursors import SSCursor
from opaque_keys.edx.keys import UsageKey

from bench.contenders import codec
from bench.contenders.raw import DELETED, HISTORY, STATE, LostRace, RawContender, Stored, Warm, Written, address
from bench.site.data import Block, Learner, State

# Without the hint the server may read all rows of the learner.
_BY_KEY = "FORCE INDEX (PRIMARY)"
_READ = f"SELECT block_id, revision, state FROM {STATE} {_BY_KEY} WHERE student_id = %s AND block_id IN (%s)"
_FETCH = f"SELECT block_id, state, modified FROM {STATE} {_BY_KEY} WHERE student_id = %s AND block_id IN (%s)"
_ENTRIES = (
    f"SELECT revision, created, body FROM {HISTORY} WHERE student_id = %s AND block_id = %s ORDER BY revision DESC"
)
_COLUMNS = "student_id, block_id, revision, state, created, modified"
_HISTORY_COLUMNS = "student_id, block_id, revision, created, encoding, body, grade, max_grade"
_IS_NEXT = "revision = VALUES(revision) - 1"
_COPIED = f"SELECT student_id, block_id, revision, modified, 0, state, grade, max_grade FROM {STATE}"
# ROW_COUNT() counts an updated row twice, an inserted row once, and an unchanged row not at all: that one had another
# revision. The revision comes last, because each assignment sees the values of the assignments before it.
_WRITE = f"""
BEGIN NOT ATOMIC
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    INSERT INTO {STATE} ({_COLUMNS}) VALUES %s
    ON DUPLICATE KEY UPDATE
        state = IF({_IS_NEXT}, VALUES(state), state),
        modified = IF({_IS_NEXT}, GREATEST(VALUES(modified), modified + INTERVAL 1 MICROSECOND), modified),
        revision = IF({_IS_NEXT}, VALUES(revision), revision);
    IF ROW_COUNT() <> %s THEN SIGNAL SQLSTATE '45000'; END IF;
    INSERT INTO {HISTORY} ({_HISTORY_COLUMNS}) {_COPIED} {_BY_KEY} WHERE student_id = %s AND block_id IN (%s);
    COMMIT;
END
"""
_DELETE = f"""
BEGIN NOT ATOMIC
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    UPDATE {STATE} SET state = '{DELETED}', revision = revision + 1,
        modified = GREATEST('%s', modified + INTERVAL 1 MICROSECOND)
    WHERE student_id = %s AND block_id IN (%s) AND state <> '{DELETED}';
    INSERT INTO {HISTORY} ({_HISTORY_COLUMNS}) {_COPIED} AS m {_BY_KEY} WHERE student_id = %s AND block_id IN (%s)
    AND NOT EXISTS (SELECT 1 FROM {HISTORY} AS h
        WHERE h.student_id = m.student_id AND h.block_id = m.block_id AND h.revision = m.revision);
    COMMIT;
END
"""
_COURSE = f"""
    SELECT u.username, m.block_id, m.state, m.modified FROM {STATE} AS m JOIN auth_user AS u ON u.id = m.student_id
    WHERE m.block_id IN (%s) AND m.state IS NOT NULL AND m.state <> '{DELETED}'
"""
# Errors of a lost race: the signal of _WRITE, a deadlock, a lock wait timeout, a duplicate key.
_RETRIED = {1644, 1213, 1205, 1062}


class Raw(RawContender):
    """Uses mysqlclient on its own connection."""

    def connect(self) -> Any:
        isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
        found = address(database="database")
        port = int(found.pop("port", 3306))
        return MySQLdb.connect(**found, port=port, charset="utf8mb4", autocommit=True, init_command=isolation)

    def read(self, learner_id: int, ids: Collection[int]) -> Stored:
        return {id_: (revision, text) for id_, revision, text in self._query(_READ % (learner_id, _list(ids)))}

    def fetch(self, learner_id: int, ids: Collection[int]) -> list[tuple[Any, ...]]:
        return self._query(_FETCH % (learner_id, _list(ids)))

    def write(self, learner_id: int, rows: Sequence[Written]) -> None:
        now, quoted = _now(), self.session.escape_string
        values = [
            f"({learner_id},{id_},{revision},'{quoted(text).decode()}','{now}','{now}')" for id_, revision, text in rows
        ]
        expected = sum(1 if row.revision == 1 else 2 for row in rows)
        ids = _list(row.id for row in rows)
        try:
            self._query(_WRITE % (",".join(values), expected, learner_id, ids))
        except MySQLdb.Error as error:
            if error.args[0] not in _RETRIED:
                raise
            raise LostRace from error

    def delete(self, learner_id: int, ids: Collection[int]) -> None:
        found = _list(ids)
        self._query(_DELETE % (_now(), learner_id, found, learner_id, found))

    def entries(self, learner: Learner, block: Block) -> list[State | None]:
        return [codec.decode(body.decode())[0] or None for _, _, body in self._query(_ENTRIES % (learner.id, block.id))]

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        self.session.query(sql)
        result = self.session.store_result()
        rows = result.fetch_row(maxrows=0) if result else ()
        # The connection is free again only after all results of a compound statement.
        while self.session.next_result() == 0:
            self.session.store_result()
        return list(rows)

    def iterate(self, blocks: dict[int, str]) -> Iterator[Any]:
        keys = {id_: UsageKey.from_string(usage_key) for id_, usage_key in blocks.items()}
        with self.session.cursor(SSCursor) as cursor:
            cursor.execute(_COURSE % _list(keys))
            for username, id_, text, modified in cursor:
                yield username, keys[id_], codec.decode(text)[0], modified


class RawWarm(Warm, Raw):
    """`Raw` for a caller that has read the rows before."""


def _list(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")

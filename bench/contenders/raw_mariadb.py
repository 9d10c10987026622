"""The limit on MariaDB: by mysqlclient, one statement to read and one block of statements that writes everything.

The block counts what it wrote, and rolls back if that is not all: so the whole write is one round trip.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import MySQLdb
from django.db import connection
from MySQLdb.cursors import SSCursor
from opaque_keys.edx.keys import UsageKey

from bench.contenders import codec
from bench.contenders.raw import DELETED, HISTORY, STATE, LostRace, RawContender, Stored, Warm, Written
from bench.data import Block, Learner, State

_READ = f"SELECT block_id, revision, state FROM {STATE} WHERE student_id = %s AND block_id IN (%s)"
_FETCH = f"SELECT block_id, state, modified FROM {STATE} WHERE student_id = %s AND block_id IN (%s)"
_ENTRIES = (
    f"SELECT revision, created, body FROM {HISTORY} WHERE student_id = %s AND block_id = %s ORDER BY revision DESC"
)
_COLUMNS = "student_id, block_id, revision, state, created, modified"
_HISTORY_COLUMNS = "student_id, block_id, revision, created, encoding, body, grade, max_grade"
_IS_NEXT = "revision = VALUES(revision) - 1"
_COPIED = f"SELECT student_id, block_id, revision, modified, 0, state, grade, max_grade FROM {STATE}"
# A row counts twice if it was updated, once if it was inserted, and not at all if another revision was there. The
# revision is assigned last: assignments see those before them.
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
    INSERT INTO {HISTORY} ({_HISTORY_COLUMNS}) {_COPIED} WHERE student_id = %s AND block_id IN (%s);
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
    INSERT INTO {HISTORY} ({_HISTORY_COLUMNS}) {_COPIED} AS m WHERE student_id = %s AND block_id IN (%s)
    AND NOT EXISTS (SELECT 1 FROM {HISTORY} AS h
        WHERE h.student_id = m.student_id AND h.block_id = m.block_id AND h.revision = m.revision);
    COMMIT;
END
"""
_COURSE = f"""
    SELECT u.username, m.block_id, m.state, m.modified FROM {STATE} AS m JOIN auth_user AS u ON u.id = m.student_id
    WHERE m.block_id IN (%s) AND m.state IS NOT NULL AND m.state <> '{DELETED}'
"""
# A signal of ours, a deadlock, a duplicate: somebody else was there first.
_REPEATED = {1644, 1213, 1205, 1062}


class Raw(RawContender):
    """mysqlclient, on a connection of its own."""

    @cached_property
    def _connection(self) -> Any:
        isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
        return MySQLdb.connect(**_address(), charset="utf8mb4", autocommit=True, init_command=isolation)

    def read(self, learner_id: int, ids: Collection[int]) -> Stored:
        """Return what is stored."""
        return {id_: (revision, text) for id_, revision, text in self._query(_READ % (learner_id, _list(ids)))}

    def fetch(self, learner_id: int, ids: Collection[int]) -> list[tuple[Any, ...]]:
        """Return block, text and time of the rows."""
        return self._query(_FETCH % (learner_id, _list(ids)))

    def write(self, learner_id: int, rows: Sequence[Written]) -> None:
        """Commit all rows with their entries, or raise `LostRace`."""
        now, quoted = _now(), self._connection.escape_string
        values = [
            f"({learner_id},{id_},{revision},'{quoted(text).decode()}','{now}','{now}')" for id_, revision, text in rows
        ]
        expected = sum(1 if row.revision == 1 else 2 for row in rows)
        ids = _list(row.id for row in rows)
        try:
            self._query(_WRITE % (",".join(values), expected, learner_id, ids))
        except MySQLdb.Error as error:
            if error.args[0] not in _REPEATED:
                raise
            raise LostRace from error

    def delete(self, learner_id: int, ids: Collection[int]) -> None:
        """Delete all states that are there, with their entries."""
        found = _list(ids)
        self._query(_DELETE % (_now(), learner_id, found, learner_id, found))

    def entries(self, learner: Learner, block: Block) -> list[State | None]:
        """Return the recorded states, newest first."""
        return [codec.decode(body.decode())[0] or None for _, _, body in self._query(_ENTRIES % (learner.id, block.id))]

    def disconnect(self) -> None:
        """Close the connection."""
        if "_connection" in self.__dict__:
            self._connection.close()
            del self.__dict__["_connection"]

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        self._connection.query(sql)
        result = self._connection.store_result()
        rows = result.fetch_row(maxrows=0) if result else ()
        # What follows the rows of a block, or of nothing.
        while self._connection.next_result() == 0:
            self._connection.store_result()
        return list(rows)

    def iterate(self, blocks: dict[int, str]) -> Iterator[Any]:
        """Yield what a server-side cursor gives."""
        keys = {id_: UsageKey.from_string(usage_key) for id_, usage_key in blocks.items()}
        with self._connection.cursor(SSCursor) as cursor:
            cursor.execute(_COURSE % _list(keys))
            for username, id_, text, modified in cursor:
                yield username, keys[id_], codec.decode(text)[0], modified


class RawWarm(Warm, Raw):
    """The same, for a caller who has read the rows before."""


def _list(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _address() -> dict[str, Any]:
    settings = connection.settings_dict
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "database": "NAME"}
    found = {name: settings[key] for name, key in names.items() if settings[key]}
    return {**found, "port": int(found.get("port", 3306))}

"""What the raw contenders share: overlay and compare-and-set, with nothing of Django around the statements.

They take 64-bit ids of blocks that are registered, know their learner, and check no argument. What they do is what the
client promises: fields are overlaid on what is stored, each change raises the revision by one and has an entry, all of
it is committed or none, a lost race is repeated, and what changes nothing commits nothing. Entries are full copies,
which takes less time than making deltas.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import connection

from bench.contenders import codec
from bench.contenders.base import Call, Contender
from bench.data import Block, Learner, State, blocks_of
from bench.filling import Rows
from xblock_user_state.models import StudentModule, StudentModuleHistory

STATE = "bench_raw_state"
HISTORY = "bench_raw_history"
DELETED = "{}"

Stored = Mapping[int, tuple[int, str | None]]
"""Revision and text by block."""


class Written(NamedTuple):
    """A row to write: it is new with revision 1, and else replaces the revision before."""

    id: int
    revision: int
    text: str


class LostRace(Exception):
    """Somebody else changed a row after it was read; nothing was written."""


class RawContender(Contender):
    """The meaning of a call; what the statements are is the database's."""

    tables = (STATE, HISTORY)

    @abstractmethod
    def read(self, learner_id: int, ids: Collection[int]) -> Stored:
        """Return what is stored. One round trip."""

    @abstractmethod
    def write(self, learner_id: int, rows: Sequence[Written]) -> None:
        """Commit all rows with their entries, or raise `LostRace`. One round trip."""

    @abstractmethod
    def fetch(self, learner_id: int, ids: Collection[int]) -> list[tuple[Any, ...]]:
        """Return block, text and time of the rows. One round trip."""

    @abstractmethod
    def iterate(self, blocks: dict[int, str]) -> Iterator[Any]:
        """Yield the states of all learners in these blocks, which are ids with their usage keys."""

    @abstractmethod
    def delete(self, learner_id: int, ids: Collection[int]) -> None:
        """Delete all states that are there, with their entries. One round trip."""

    def create(self) -> None:
        """Make tables of the shape of ours."""
        with connection.cursor() as cursor:
            for table, model in ((STATE, StudentModule), (HISTORY, StudentModuleHistory)):
                cursor.execute(_like(table, model._meta.db_table))

    def fill(self, rows: Rows) -> None:
        """Insert states and entries."""
        owner = {"student_id": "q.learner", "block_id": "b.id", "revision": "1"}
        rows.insert(STATE, {**owner, "state": "s.compact", "created": "now()", "modified": "now()"})
        body = "convert_to(s.compact, 'UTF8')" if connection.vendor == "postgresql" else "s.compact"
        rows.insert(HISTORY, {**owner, "created": "now()", "encoding": "0", "body": body})

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        """Return the call."""
        by_id = {block.id: fields for block, fields in states.items()}
        return lambda: self._set_many(learner.id, by_id, None)

    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        """Return the call."""
        ids = [block.id for block in blocks]
        return lambda: self._get_many(learner, ids)

    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        """Return the call."""
        ids = [block.id for block in blocks]
        return lambda: self.delete(learner.id, ids)

    def iterate_block(self, block: Block) -> Iterator[Any]:
        """Iterate over one block."""
        return self.iterate({block.id: block.usage_key})

    def iterate_course(self, course: int) -> Iterator[Any]:
        """Iterate over all blocks of a course."""
        return self.iterate({block.id: block.usage_key for block in blocks_of(course)})

    def states(self, learner: Learner, blocks: Sequence[Block]) -> dict[str, State]:
        """Return the states by usage key."""
        keys = {block.id: block.usage_key for block in blocks}
        return {keys[id_]: state for _, id_, state, _ in self.get_many(learner, blocks)()}

    def _set_many(self, learner_id: int, states: Mapping[int, State], known: Stored | None) -> None:
        while True:
            stored = self.read(learner_id, states) if known is None else known
            rows = [row for id_, fields in states.items() if (row := _overlaid(id_, fields, stored.get(id_)))]
            try:
                return self.write(learner_id, rows) if rows else None
            except LostRace:
                known = None

    def _get_many(self, learner: Learner, ids: Sequence[int]) -> list[tuple[Any, ...]]:
        return [
            (learner.username, id_, codec.decode(text)[0], modified)
            for id_, text, modified in self.fetch(learner.id, ids)
            if text is not None and text != DELETED
        ]


class Warm(RawContender):
    """A caller who has read the rows before, as a request does: writing takes no further read."""

    def create(self) -> None:
        """Share the tables."""

    def fill(self, rows: Rows) -> None:
        """Share the rows."""

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        """Read the blocks, and return the call."""
        by_id = {block.id: fields for block, fields in states.items()}
        known = self.read(learner.id, by_id)
        return lambda: self._set_many(learner.id, by_id, known)


def _overlaid(id_: int, fields: State, stored: tuple[int, str | None] | None) -> Written | None:
    revision, before = stored or (0, None)
    state, was_plain = codec.decode(before)
    is_plain = codec.is_plain(fields) and was_plain
    state.update(fields)
    text = codec.encode(state, is_plain=is_plain)
    return None if text == before or not fields else Written(id_, revision + 1, text)


def _like(table: str, model: str) -> str:
    if connection.vendor == "mysql":
        return f"CREATE TABLE {table} LIKE {model}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE oid = %s::regclass", [model])
        [options] = cursor.fetchone()
    storage = f" WITH ({', '.join(options)})" if options else ""
    return f"CREATE TABLE {table} (LIKE {model} INCLUDING ALL){storage}"

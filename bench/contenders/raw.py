"""The part that the raw contenders share: overlay and compare-and-set, without Django around the statements.

They keep the client's promises: fields are overlaid on the stored state, each change raises the revision by one and has
an entry, a call is committed as a whole or not at all, a lost race is retried, and an unchanged state is not written.
They leave out the rest: callers give ids of registered blocks and of learners, arguments are not checked, and entries
are full copies, which cost less time than deltas.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.db import connection

from bench.contenders import codec
from bench.contenders.base import Call, Contender
from bench.contenders.tables import fill_tables
from bench.site.data import Block, Learner, State, blocks_of
from bench.site.filling import Rows
from xblock_user_state.models import StudentModule, StudentModuleHistory

STATE = "bench_raw_state"
HISTORY = "bench_raw_history"
DELETED = "{}"

Stored = Mapping[int, tuple[int, str | None]]
"""Revision and JSON text by block id."""


class Written(NamedTuple):
    """A row to write. Revision 1 inserts it; a higher one replaces the revision before."""

    id: int
    revision: int
    text: str


class LostRace(Exception):
    """Another writer changed a row after it was read. Nothing was written."""


class RawContender(Contender):
    """The meaning of the calls; subclasses have the driver and the statements of one database."""

    tables = (STATE, HISTORY)

    @cached_property
    def session(self) -> Any:
        """The contender's own connection, opened at first use."""
        return self.connect()

    @abstractmethod
    def connect(self) -> Any:
        """Open a connection to the default database in autocommit."""

    @abstractmethod
    def read(self, learner_id: int, ids: Collection[int]) -> Stored:
        """Return the stored rows. One round trip."""

    @abstractmethod
    def write(self, learner_id: int, rows: Sequence[Written]) -> None:
        """Commit all rows with their entries, or raise `LostRace`. One round trip."""

    @abstractmethod
    def fetch(self, learner_id: int, ids: Collection[int]) -> list[tuple[Any, ...]]:
        """Return block id, text and modification time of the rows. One round trip."""

    @abstractmethod
    def iterate(self, blocks: dict[int, str]) -> Iterator[Any]:
        """Yield the states of all learners in these blocks, which map ids to usage keys."""

    @abstractmethod
    def delete(self, learner_id: int, ids: Collection[int]) -> None:
        """Delete the existing states and record that. One round trip."""

    def create(self) -> None:
        """Create tables with the columns, indexes and storage options of the package."""
        with connection.cursor() as cursor:
            for table, model in ((STATE, StudentModule), (HISTORY, StudentModuleHistory)):
                cursor.execute(_like(table, model._meta.db_table))

    def fill(self, rows: Rows) -> None:
        fill_tables(rows, STATE, HISTORY)

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        by_id = {block.id: fields for block, fields in states.items()}
        return lambda: self._set_many(learner.id, by_id, None)

    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        ids = [block.id for block in blocks]
        return lambda: self._get_many(learner, ids)

    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        ids = [block.id for block in blocks]
        return lambda: self.delete(learner.id, ids)

    def iterate_block(self, block: Block) -> Iterator[Any]:
        return self.iterate({block.id: block.usage_key})

    def iterate_course(self, course: int) -> Iterator[Any]:
        return self.iterate({block.id: block.usage_key for block in blocks_of(course)})

    def states(self, learner: Learner, blocks: Sequence[Block]) -> dict[str, State]:
        # The rows have ids in the place of keys.
        keys = {block.id: block.usage_key for block in blocks}
        return {keys[id_]: state for _, id_, state, _ in self.get_many(learner, blocks)()}

    def disconnect(self) -> None:
        if "session" in self.__dict__:
            self.session.close()
            del self.__dict__["session"]

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
    """A caller that has read the rows before, as a request does, and needs no read to write them."""

    def create(self) -> None:
        """Do nothing: the cold contender has created the shared tables."""

    def fill(self, rows: Rows) -> None:
        """Do nothing: the cold contender has filled the shared tables."""

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        by_id = {block.id: fields for block, fields in states.items()}
        known = self.read(learner.id, by_id)
        return lambda: self._set_many(learner.id, by_id, known)


def address(*, database: str) -> dict[str, Any]:
    """Return the arguments of a driver's ``connect``; `database` is the driver's name for the database's name."""
    settings = connection.settings_dict
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", database: "NAME"}
    return {name: settings[key] for name, key in names.items() if settings[key]}


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

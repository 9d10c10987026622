"""This package, through its public client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection

from bench.contenders.base import Call, Contender
from bench.data import Block, Learner, State, course_key
from bench.filling import Rows
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import XBlockUserState
from xblock_user_state.models import Block as RegisteredBlock
from xblock_user_state.models import LearningContext, StudentModule, StudentModuleHistory


class Ours(Contender):
    """Each call by a client of its own that is given its user, as in a request."""

    tables = (StudentModule._meta.db_table, StudentModuleHistory._meta.db_table)

    def create(self) -> None:
        """Register the blocks, which are there before most of their learners are."""
        names = "id, context_id, usage_key, block_type"
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {LearningContext._meta.db_table} (id, {connection.ops.quote_name('key')})"
                " SELECT DISTINCT course_id, course FROM bench_block"
            )
            cursor.execute(
                f"INSERT INTO {RegisteredBlock._meta.db_table} ({names})"
                " SELECT id, course_id, usage_key, 'problem' FROM bench_block"
            )

    def fill(self, rows: Rows) -> None:
        """Insert states, and history in the plain encoding."""
        owner = {"student_id": "q.learner", "block_id": "b.id", "revision": "1"}
        rows.insert(self.tables[0], {**owner, "state": "s.compact", "created": "now()", "modified": "now()"})
        body = "convert_to(s.compact, 'UTF8')" if connection.vendor == "postgresql" else "s.compact"
        rows.insert(self.tables[1], {**owner, "created": "now()", "encoding": "0", "body": body})

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        """Return the call."""
        by_key = {block.key: fields for block, fields in states.items()}
        return lambda: _client(learner).set_many(learner.username, by_key)

    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        """Return the call."""
        keys = [block.key for block in blocks]
        return lambda: list(_client(learner).get_many(learner.username, keys))

    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        """Return the call."""
        keys = [block.key for block in blocks]
        return lambda: _client(learner).delete_many(learner.username, keys)

    def entries(self, learner: Learner, block: Block) -> list[State | None]:
        """Return the recorded states, newest first."""
        return [entry.state for entry in _client(learner).get_history(learner.username, block.key)]

    def iterate_block(self, block: Block) -> Iterator[XBlockUserState]:
        """Iterate as a report does."""
        return DjangoXBlockUserStateClient().iter_all_for_block(block.key)

    def iterate_course(self, course: int) -> Iterator[XBlockUserState]:
        """Iterate as a report does."""
        return DjangoXBlockUserStateClient().iter_all_for_course(course_key(course))

    def states(self, learner: Learner, blocks: Sequence[Block]) -> dict[str, State]:
        """Return the states by usage key."""
        return {str(found.block_key): found.state for found in self.get_many(learner, blocks)()}


class OursWarm(Ours):
    """The client of a request that has read the blocks before."""

    def create(self) -> None:
        """Share the tables of `Ours`."""

    def fill(self, rows: Rows) -> None:
        """Share the rows of `Ours`."""

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        """Read the blocks, and return the call."""
        by_key = {block.key: fields for block, fields in states.items()}
        client = self._warm(learner, by_key)
        return lambda: client.set_many(learner.username, by_key)

    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        """Read the blocks, and return the call that reads them again."""
        keys = [block.key for block in blocks]
        client = self._warm(learner, keys)
        return lambda: list(client.get_many(learner.username, keys))

    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        """Read the blocks, and return the call."""
        keys = [block.key for block in blocks]
        client = self._warm(learner, keys)
        return lambda: client.delete_many(learner.username, keys)

    def _warm(self, learner: Learner, keys: Any) -> DjangoXBlockUserStateClient:
        client = _client(learner)
        list(client.get_many(learner.username, keys))
        return client


def _client(learner: Learner) -> DjangoXBlockUserStateClient:
    return DjangoXBlockUserStateClient(get_user_model()(pk=learner.id, username=learner.username))

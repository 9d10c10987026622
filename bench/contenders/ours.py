"""This package, through its public Django client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection

from bench.contenders.base import Call, Contender
from bench.contenders.tables import fill_tables
from bench.site.data import Block, Learner, State, course_key
from bench.site.filling import Rows
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import XBlockUserState
from xblock_user_state.models import Block as RegisteredBlock
from xblock_user_state.models import LearningContext, StudentModule, StudentModuleHistory


class Ours(Contender):
    """Makes a new client with a known user for each call, as a web request does."""

    tables = (StudentModule._meta.db_table, StudentModuleHistory._meta.db_table)

    def create(self) -> None:
        """Register the blocks: on a site the first learner does that, and most calls come later."""
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
        state, history = self.tables
        fill_tables(rows, state, history)

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        by_key, user = {block.key: fields for block, fields in states.items()}, _user(learner)
        return lambda: DjangoXBlockUserStateClient(user).set_many(learner.username, by_key)

    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        keys, user = [block.key for block in blocks], _user(learner)
        return lambda: list(DjangoXBlockUserStateClient(user).get_many(learner.username, keys))

    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        keys, user = [block.key for block in blocks], _user(learner)
        return lambda: DjangoXBlockUserStateClient(user).delete_many(learner.username, keys)

    def entries(self, learner: Learner, block: Block) -> list[State | None]:
        return [entry.state for entry in _client(learner).get_history(learner.username, block.key)]

    def iterate_block(self, block: Block) -> Iterator[XBlockUserState]:
        return DjangoXBlockUserStateClient().iter_all_for_block(block.key)

    def iterate_course(self, course: int) -> Iterator[XBlockUserState]:
        return DjangoXBlockUserStateClient().iter_all_for_course(course_key(course))


class OursWarm(Ours):
    """Uses a client that has read the blocks before, as most requests do before they write."""

    def create(self) -> None:
        """Do nothing: `Ours` has created the shared tables."""

    def fill(self, rows: Rows) -> None:
        """Do nothing: `Ours` has filled the shared tables."""

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        by_key = {block.key: fields for block, fields in states.items()}
        client = self._warm(learner, by_key)
        return lambda: client.set_many(learner.username, by_key)

    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        keys = [block.key for block in blocks]
        client = self._warm(learner, keys)
        return lambda: list(client.get_many(learner.username, keys))

    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        keys = [block.key for block in blocks]
        client = self._warm(learner, keys)
        return lambda: client.delete_many(learner.username, keys)

    def _warm(self, learner: Learner, keys: Any) -> DjangoXBlockUserStateClient:
        client = _client(learner)
        list(client.get_many(learner.username, keys))
        return client


def _client(learner: Learner) -> DjangoXBlockUserStateClient:
    return DjangoXBlockUserStateClient(_user(learner))


def _user(learner: Learner) -> Any:
    """Return the user, which a web request has made before it calls the package."""
    return get_user_model()(pk=learner.id, username=learner.username)

"""This package over HTTP: the remote client, and the service beside the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.contenders.base import Call, Contender
from bench.site.data import Block, Learner, State, course_key
from bench.site.filling import Rows
from xblock_user_state.interface import XBlockUserState
from xblock_user_state.remote import RemoteXBlockUserStateClient


class Remote(Contender):
    """Uses one client for all calls, as a host does: it keeps a connection open."""

    def __init__(self, client: RemoteXBlockUserStateClient) -> None:
        self._client = client

    def create(self) -> None:
        """Do nothing: `Ours` has created the tables."""

    def fill(self, rows: Rows) -> None:
        """Do nothing: `Ours` has filled the tables."""

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        by_key = {block.key: fields for block, fields in states.items()}
        return lambda: self._client.set_many(learner.username, by_key)

    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        keys = [block.key for block in blocks]
        return lambda: list(self._client.get_many(learner.username, keys))

    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        keys = [block.key for block in blocks]
        return lambda: self._client.delete_many(learner.username, keys)

    def entries(self, learner: Learner, block: Block) -> list[State | None]:
        return [entry.state for entry in self._client.get_history(learner.username, block.key)]

    def iterate_block(self, block: Block) -> Iterator[XBlockUserState]:
        return self._client.iter_all_for_block(block.key)

    def iterate_course(self, course: int) -> Iterator[XBlockUserState]:
        return self._client.iter_all_for_course(course_key(course))

    def disconnect(self) -> None:
        self._client.close()

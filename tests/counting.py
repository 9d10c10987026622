"""An in-memory client that counts its calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from xblock.fields import Scope

from xblock_user_state.clients.batch import ChangeSet
from xblock_user_state.interface import BlockKey, EncodedState, Learner, ServiceUnavailable
from xblock_user_state.memory import InMemoryXBlockUserStateClient


class CountingClient(InMemoryXBlockUserStateClient):
    """Records the scope of each read and the number of commits, and can be down."""

    def __init__(self) -> None:
        super().__init__(recorded_block_types="*")
        self.reads: list[str] = []
        self.commits = 0
        self.is_down = False

    def get_encoded_rows(self, username: Learner, rows: Sequence[tuple[Scope, BlockKey]]) -> list[EncodedState | None]:
        self._check()
        self.reads += dict.fromkeys(scope.name for scope, _ in rows)
        return super().get_encoded_rows(username, rows)

    @contextmanager
    def batch(
        self,
        username: Learner,
        *,
        only_new: bool = False,
        if_revisions: Mapping[tuple[Scope, Any], int] | None = None,
    ) -> Iterator[ChangeSet]:
        with super().batch(username, only_new=only_new, if_revisions=if_revisions) as batch:
            yield batch
            self._check()
        self.commits += 1

    def _check(self) -> None:
        if self.is_down:
            raise ServiceUnavailable

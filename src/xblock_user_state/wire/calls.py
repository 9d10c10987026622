"""Calls that read, and their answers."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from xblock_user_state.wire.addresses import Address
from xblock_user_state.wire.rows import Answer, FoundRow, StoredEntry, StoredRow, StoredScore
from xblock_user_state.wire.values import PackedLearner


class Call(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A request. `path` is its part of the URL after the version, `answer` the class of the answer or of its lines."""

    path: ClassVar[str]
    answer: ClassVar[Any]


class Rows(Answer, frozen=True, kw_only=True):
    """The rows in the order of the call; null for a row that does not exist."""

    rows: list[StoredRow | None]


class ReadRows(Call, frozen=True, kw_only=True):
    """Rows of one learner, of several scopes: `get`, `get_many`, `get_encoded`, `get_encoded_rows`."""

    path = "rows"
    answer = Rows

    learner: PackedLearner = None
    rows: list[Address]


class Scores(Answer, frozen=True, kw_only=True):
    """The scores in the order of the call; null where there is none."""

    scores: list[StoredScore | None]


class ReadScores(Call, frozen=True, kw_only=True):
    """`get_scores`."""

    path = "scores"
    answer = Scores

    learner: PackedLearner = None
    rows: list[Address]


class Entries(Answer, frozen=True, kw_only=True):
    """A page of a history, newest first. ``more`` tells that older entries may follow: ask from the last one's on."""

    entries: list[StoredEntry]
    more: bool = False


class ReadHistory(Call, frozen=True, kw_only=True):
    """`get_history`. The service may answer fewer entries than `limit`: then ``more`` is true."""

    path = "history"
    answer = Entries

    learner: PackedLearner = None
    row: Address
    limit: int | None = None
    before_revision: int | None = None


class FoundRows(Answer, frozen=True, kw_only=True):
    """Rows with their keys, newest first."""

    rows: list[FoundRow]


class ReadLatest(Call, frozen=True, kw_only=True):
    """`get_latest`."""

    path = "latest"
    answer = FoundRows

    learner: PackedLearner = None
    limit: int = 1
    course: str | None = None


class FoundKeys(Answer, frozen=True, kw_only=True):
    """The keys of registered blocks."""

    blocks: list[Address]


class FindBlocks(Call, frozen=True, kw_only=True):
    """`find_blocks`. The key may lack its run."""

    path = "blocks"
    answer = FoundKeys

    key: str

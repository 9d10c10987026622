"""The registry of blocks: which key stands behind a 64-bit id."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.db import connections

from xblock_user_state.interface import BlockKeyCollision
from xblock_user_state.models import Block, LearningContext
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.base import Target
from xblock_user_state.store.reader import pieces
from xblock_user_state.store.transactions import repeat


def registered(database: str, blocks: Collection[BlockId], *, lock: bool = False) -> set[BlockId]:
    """Return those of `blocks` that are registered. One statement.

    Raises `BlockKeyCollision` if another block is registered under the id of one of them, or two of them share one.
    """
    by_id: dict[int, BlockId] = {}
    for block in blocks:
        other = by_id.setdefault(block.id, block)
        if other != block:
            _collide(block.usage_key, other.usage_key)
    found = set()
    for ids in pieces(database, sorted(by_id)):
        rows = Block.objects.using(database).filter(id__in=ids).order_by("id")
        rows = rows.select_for_update() if lock else rows
        for block_id, context_id, usage_key in rows.values_list("id", "context_id", "usage_key"):
            block = by_id[block_id]
            if (context_id, usage_key) != (block.context_id, block.usage_key):
                _collide(block.usage_key, usage_key)
            found.add(block)
    return found


def register(database: str, blocks: Collection[BlockId]) -> None:
    """Register blocks that were not registered when the caller looked. At most five statements.

    In a transaction of its own, if the caller has none: a new block's row, which all its learners may be
    waiting for, must not be held while one learner's state is written.
    """
    repeat(database, lambda again: _register(database, blocks, again=again))


def _register(database: str, blocks: Collection[BlockId], *, again: bool) -> None:
    missing = set(blocks) - registered(database, blocks, lock=True) if again else set(blocks)
    contexts = {block.context_id: block.context_key for block in missing}
    new_contexts = contexts.keys() - _registered_contexts(database, contexts, lock=again)
    _insert(database, LearningContext, ("id", "key"), [(id_, contexts[id_]) for id_ in sorted(new_contexts)])
    rows = sorted((block.id, block.context_id, block.usage_key, block.block_type) for block in missing)
    _insert(database, Block, ("id", "context_id", "usage_key", "block_type"), rows)


def _registered_contexts(database: str, contexts: dict[int, str], *, lock: bool) -> set[int]:
    found = set()
    for ids in pieces(database, sorted(contexts)):
        rows = LearningContext.objects.using(database).filter(id__in=ids).order_by("id")
        for id_, key in (rows.select_for_update() if lock else rows).values_list("id", "key"):
            if key != contexts[id_]:
                _collide(contexts[id_], key)
            found.add(id_)
    return found


def _insert(
    database: str,
    model: type[Block | LearningContext],
    columns: tuple[str, ...],
    rows: Sequence[tuple[int | str, ...]],
) -> None:
    if rows:
        connection = connections[database]
        dialect_of(connection).insert(Target(connection, model, columns, {}), rows)


def _collide(key: str, other: str) -> None:
    raise BlockKeyCollision(f"{key} has the same 64-bit id as {other}; nothing was written")

"""The block registry: it keeps the key behind each 64-bit id, and rejects a second key for an id."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import QuerySet
from django.dispatch import Signal

from xblock_user_state.interface import BlockKeyCollision
from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import BlockId, RowKey
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import Rows, Target
from xblock_user_state.store.models import Block, LearningContext
from xblock_user_state.store.statements import fetch, pieces, selected
from xblock_user_state.store.tables import Table
from xblock_user_state.store.transactions import LostRace, errors_undo_their_statement, repeat

blocks_registered = Signal()
"""Sent with ``database`` and ``block_ids`` in the transaction that registers blocks. An id may be sent again.

For apps that keep a row for each block; an error of a receiver fails the registration.
"""


class Lookup(NamedTuple):
    """The stored rows of a learner in some blocks, and the blocks among them that are registered."""

    rows: Mapping[RowKey, Row]
    registered: Collection[BlockId]


def lookup(
    database: str, table: Table, student_id: Any, blocks: Collection[BlockId], *, lock: bool, cut: bool
) -> Lookup:
    """Return the learner's rows in some blocks, and the registered ones of the blocks. One statement for 10,000.

    With `lock` the learner's rows are locked, in the order of their keys; the registry is not. With `cut` the rows have
    the first three characters of their texts.

    Raises `BlockKeyCollision` if two of the blocks share an id, or a block is registered with another key.
    """
    by_id = _by_id(blocks)
    rows: dict[RowKey, Row] = {}
    found = set()
    for ids in pieces(database, sorted(by_id)):
        for id_, context_id, usage_key, *values in _fetch(database, table, student_id, ids, lock=lock, cut=cut):
            block = by_id[id_]
            if usage_key is not None:
                _check(block, context_id, usage_key)
                found.add(block)
            # The first column is the revision, which is NULL only where the join found no row.
            if values[0] is not None:
                rows[block] = table.row(values)
    return Lookup(rows, found)


def find_blocks(database: str, usage_key: str) -> dict[int, tuple[str, str]]:
    """Return context key and usage key of the registered blocks with this usage key, by id. One statement."""
    return _texts(Block.objects.using(database).filter(usage_key=usage_key))


def texts_of(database: str, block_ids: Collection[int]) -> dict[int, tuple[str, str]]:
    """Return context key and usage key of the blocks that are registered, by id. One statement for 10,000."""
    found: dict[int, tuple[str, str]] = {}
    for some in pieces(database, sorted(block_ids)):
        found |= _texts(Block.objects.using(database).filter(id__in=some))
    return found


def _texts(blocks: QuerySet[Block]) -> dict[int, tuple[str, str]]:
    found = blocks.order_by("id").values_list("id", "context__key", "usage_key")
    return {id_: (context, text) for id_, context, text in found}


def registered(database: str, blocks: Collection[BlockId], *, lock: bool = False) -> set[BlockId]:
    """Return the blocks that are registered. One statement for 10,000.

    Raises `BlockKeyCollision` if two of the blocks share an id, or a block is registered with another key.
    """
    by_id = _by_id(blocks)
    found = set()
    for ids in pieces(database, sorted(by_id)):
        rows = Block.objects.using(database).filter(id__in=ids).order_by("id")
        rows = rows.select_for_update() if lock else rows
        for block_id, context_id, usage_key in rows.values_list("id", "context_id", "usage_key"):
            _check(by_id[block_id], context_id, usage_key)
            found.add(by_id[block_id])
    return found


def register(database: str, blocks: Collection[BlockId]) -> None:
    """Register blocks that a lookup did not find. One statement on PostgreSQL, three on other databases.

    Raises `BlockKeyCollision`, with nothing written, if an id is taken by another key.
    """
    repeat(
        database,
        partial(_register, database, blocks, again=True),
        first=partial(_register, database, blocks, again=False),
        # Outside a transaction: all learners of a new block may be waiting for its row, so it must not stay locked
        # while one learner's state is written. Receivers need a transaction, which ends before the state is written.
        first_is_bare=not blocks_registered.has_listeners(Block) and errors_undo_their_statement(database),
    )


def _register(database: str, blocks: Collection[BlockId], *, again: bool) -> None:
    missing = set(blocks) - registered(database, blocks, lock=True) if again else set(blocks)
    if not missing:
        # Another process has committed them all since the first attempt.
        return
    contexts = {block.context_id: block.context_key for block in missing}
    for block in missing:
        if contexts[block.context_id] != block.context_key:
            _collide(block.context_key, contexts[block.context_id])
    connection = connections[database]
    inserted = dialect_of(connection).insert_missing(
        Rows(
            Target(connection, Block, ("id", "context_id", "usage_key", "block_type"), {}),
            sorted((block.id, block.context_id, block.usage_key, block.block_type) for block in missing),
        ),
        parents=Rows(Target(connection, LearningContext, ("id", "key"), {}), sorted(contexts.items())),
        reference="context_id",
    )
    if inserted != len(missing):
        # Another process has registered some of them meanwhile, or an id belongs to another key.
        _check_contexts(database, contexts, lock=again)
        if registered(database, missing, lock=again) != missing:
            raise LostRace
    blocks_registered.send(Block, database=database, block_ids=sorted(block.id for block in missing))


def _check_contexts(database: str, contexts: Mapping[int, str], *, lock: bool) -> None:
    for ids in pieces(database, sorted(contexts)):
        rows = LearningContext.objects.using(database).filter(id__in=ids).order_by("id")
        for id_, key in (rows.select_for_update() if lock else rows).values_list("id", "key"):
            if key != contexts[id_]:
                _collide(contexts[id_], key)


def _fetch(
    database: str, table: Table, student_id: Any, ids: Sequence[int], *, lock: bool, cut: bool
) -> Collection[Sequence[Any]]:
    """Return a row for each id: the id, the registry's context and usage key, and the table's columns."""
    connection = connections[database]
    target = Target(connection, table.model, table.columns, table.pinned(student_id))
    dialect, registry = dialect_of(connection), connection.ops.quote_name(Block._meta.db_table)
    asked, parameters = dialect.id_table(ids)
    locked, stored, conditions = "", target.table, dialect.pinned(target.layout, "stored.")
    values = [*parameters, *target.pinned_values()]
    if lock:
        in_list, keys = dialect.in_list("block_id", ids, keep_plan=True)
        wanted = " AND ".join([*dialect.pinned(target.layout), in_list])
        # The lock stands in a CTE, because all learners share the registry's rows. FOR UPDATE OF is no way out: MariaDB
        # lacks it, and PostgreSQL refuses it on the nullable side of a LEFT JOIN.
        source = dialect.keyed(target.table)
        locked = f"WITH locked AS (SELECT * FROM {source} WHERE {wanted} ORDER BY block_id FOR UPDATE) "
        stored, conditions, values = "locked", [], [*target.pinned_values(), *keys, *parameters]
    columns = selected(target, "stored.", cut=cut)
    sql = (
        f"{locked}SELECT asked.id, block.context_id, block.usage_key, {columns} FROM {asked} "
        f"LEFT JOIN {registry} AS block ON block.id = asked.id "
        f"LEFT JOIN {stored} AS stored ON {' AND '.join([*conditions, 'stored.block_id = asked.id'])}"
    )
    return list(fetch(target, sql, values, leading=3, keep_plan=True))


def _by_id(blocks: Collection[BlockId]) -> Mapping[int, BlockId]:
    by_id: dict[int, BlockId] = {}
    for block in blocks:
        other = by_id.setdefault(block.id, block)
        if other != block:
            _collide(block.usage_key, other.usage_key)
    return by_id


def _check(block: BlockId, context_id: int, usage_key: str) -> None:
    if (context_id, usage_key) != (block.context_id, block.usage_key):
        _collide(block.usage_key, usage_key)


def _collide(key: str, other: str) -> None:
    raise BlockKeyCollision(f"{key} has the same 64-bit id as {other}; nothing was written")

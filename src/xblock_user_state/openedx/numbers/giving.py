"""Gives numbers to blocks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.db import connections
from django.db.models import Exists, Max, OuterRef

from xblock_user_state.openedx.numbers.models import BlockNumber
from xblock_user_state.store.blocks import blocks_registered
from xblock_user_state.store.models import Block

UID = "xblock_user_state.openedx.numbers"
"""The name of the receiver."""

_PAGE = 1000
_INSERT_ARRAY = f"""
    INSERT INTO {BlockNumber._meta.db_table} (block_id) SELECT id FROM unnest(%s::bigint[]) AS id ON CONFLICT DO NOTHING
"""


def connect() -> None:
    """Give numbers to blocks as they are registered."""
    blocks_registered.connect(_receive, sender=Block, dispatch_uid=UID)


def _receive(database: str, block_ids: Collection[int], **_: Any) -> None:
    give_numbers(database, block_ids)


def give_numbers(database: str, block_ids: Collection[int]) -> None:
    """Give numbers to the blocks that have none. One statement."""
    connection = connections[database]
    if connection.vendor == "postgresql":
        # Of one row, Django makes VALUES. With ON CONFLICT these let Citus lock the table, which is on each node, for
        # all other writers until a caller's transaction ends.
        with connection.cursor() as cursor:
            cursor.execute(_INSERT_ARRAY, [sorted(block_ids)])
        return
    rows = (BlockNumber(block_id=block_id) for block_id in sorted(block_ids))
    BlockNumber._base_manager.using(database).bulk_create(rows, ignore_conflicts=True)


def give_missing(database: str) -> Iterator[int]:
    """Give numbers to all registered blocks that have none; yield how many, for each page. Can run beside writers."""
    numbers = BlockNumber._base_manager.using(database)
    rows = Block._base_manager.using(database).filter(~Exists(numbers.filter(block_id=OuterRef("id")))).order_by("id")
    page = list(rows.values_list("id", flat=True)[:_PAGE])
    while page:
        give_numbers(database, page)
        yield len(page)
        page = list(rows.filter(id__gt=page[-1]).values_list("id", flat=True)[:_PAGE])


def highest_number(database: str) -> int:
    """Return the highest number of a block, 0 if there is none. One statement."""
    return BlockNumber._base_manager.using(database).aggregate(highest=Max("number"))["highest"] or 0

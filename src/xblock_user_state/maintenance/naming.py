"""Names of learners and blocks, for commands that print them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

from xblock_user_state.history.entries import Owner, all_rows
from xblock_user_state.state.keys import parse_block
from xblock_user_state.store.models import Block
from xblock_user_state.store.users import usernames


class BlockName(NamedTuple):
    """The names of a block; all ``None`` if it is not registered: its registry row was lost, or never restored."""

    context_key: str | None = None
    usage_key: str | None = None
    block_type: str | None = None


def block_names(database: str, block_ids: Collection[int]) -> dict[int, BlockName]:
    """Return the names of each block. One statement."""
    rows = all_rows(Block, database).filter(id__in=list(block_ids))
    registered = rows.values_list("id", "context__key", "usage_key", "block_type")
    names = dict.fromkeys(block_ids, BlockName())
    names.update({id_: BlockName(*parts) for id_, *parts in registered})
    return names


MAX_NAMES = 20_000
"""Names that one pass caches at most. They take some megabytes."""


class BlockNames:
    """A cache of the names of blocks for one pass. Blocks come again with every learner of a course."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._names: dict[int, BlockName] = {}

    def of(self, block_ids: Collection[int]) -> Mapping[int, BlockName]:
        """Return the names of all given blocks, and maybe of others. At most one statement."""
        # A block without a name may be registered meanwhile.
        unknown = [id_ for id_ in block_ids if self._names.get(id_, BlockName()).block_type is None]
        if len(self._names) + len(unknown) > MAX_NAMES:
            self._names, unknown = {}, list(block_ids)
        if unknown:
            self._names |= block_names(self._database, unknown)
        return self._names


# Parsing a key takes longer than checking a row.
@lru_cache(MAX_NAMES)
def unreadable_key(name: BlockName) -> str | None:
    """Return why the key of a registered block can't be read; ``None`` if it can."""
    try:
        parse_block(str(name.context_key), str(name.usage_key))
    except ValueError as error:
        return str(error)
    return None


def first_missing(rows: int) -> str:
    """Return the advice for rows of which the first revisions are missing."""
    return (
        f"The first revisions of {rows:,} rows are missing: if their block type was recorded late, use --late-start "
        "with check_history and repair_history; if they were lost, repair_history --lost-start closes them off."
    )


def describe_owners(database: str, owners: Collection[Owner]) -> Mapping[Owner, str]:
    """Return a description of each owner for people: names, where they exist, and ids. Two statements."""
    names = usernames({owner.student_id for owner in owners})
    blocks = block_names(database, {owner.block_id for owner in owners})
    return {
        owner: f"learner {owner.student_id} ({names.get(owner.student_id, 'no such user')}), "
        f"block {owner.block_id} ({blocks[owner.block_id].usage_key or 'not registered'})"
        for owner in owners
    }

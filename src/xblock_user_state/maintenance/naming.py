"""Names of learners and blocks, for commands that report to people. No statement here pins a learner."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from xblock_user_state.history.entries import Owner
from xblock_user_state.store.models import Block
from xblock_user_state.store.users import usernames


class BlockName(NamedTuple):
    """What a block is called; ``None`` where nobody knows."""

    context_key: str | None
    usage_key: str | None
    block_type: str | None


def block_names(database: str, block_ids: Collection[int]) -> dict[int, BlockName]:
    """Return the names of those of the blocks that are registered. One statement."""
    rows = Block._base_manager.using(database).filter(id__in=list(block_ids))
    found = rows.values_list("id", "context__key", "usage_key", "block_type")
    return {id_: BlockName(*names) for id_, *names in found}


def described(database: str, owners: Collection[Owner]) -> Mapping[Owner, str]:
    """Return what tells people of these owners: names where there are any, and ids. Two statements."""
    names = usernames({owner.student_id for owner in owners})
    blocks = block_names(database, {owner.block_id for owner in owners})
    return {
        owner: f"learner {owner.student_id} ({names.get(owner.student_id, 'no such user')}), "
        f"block {owner.block_id} ({blocks[owner.block_id].usage_key if owner.block_id in blocks else 'not registered'})"
        for owner in owners
    }

"""Moves of blocks to other usage keys: checks of the keys, and the keys of a course's blocks in another course.

Everything is checked before any SQL on learners' state, because a move is hard to take back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import AsideUsageKey, CourseKey, LearningContextKey, UsageKey
from opaque_keys.edx.locator import LibraryLocatorV2, LibraryUsageLocatorV2

from xblock_user_state.state.keys import BlockId, identify_block, identify_context, parse_block


class Move(NamedTuple):
    """A block, and the block that takes over its state."""

    old: BlockId
    new: BlockId


def moves_of_blocks(keys: Mapping[UsageKey, UsageKey]) -> list[Move]:
    """Return the moves from each old key to its new key.

    Raises ``TypeError`` or ``ValueError`` for a key that is no usage key or can't be stored, for a move to another kind
    of block, and for two moves that meet in one block.
    """
    return _checked(
        [Move(_identified(old, "an old key"), _identified(new, f"the new key of {old}")) for old, new in keys.items()]
    )


def check_contexts(old: LearningContextKey, new: LearningContextKey) -> None:
    """Raise ``ValueError`` if one of the keys can't be stored, or both are the same."""
    if identify_context(old) == identify_context(new):
        raise ValueError(f"{old} can't be moved to itself")


def moves_of_context(blocks: Iterable[tuple[str, str]], new: LearningContextKey) -> list[Move]:
    """Return the moves of blocks, given as the texts of context and usage key, to their namesakes in the context `new`.

    Raises ``ValueError`` if a block has no key there, or a key that can't be stored.
    """
    return _checked([_move_into(context, usage, new) for context, usage in blocks])


def _move_into(context_key: str, usage_key: str, new: LearningContextKey) -> Move:
    try:
        key = parse_block(context_key, usage_key)
        return Move(identify_block(key), identify_block(_key_in(new, key)))
    except (ValueError, InvalidKeyError) as error:
        raise ValueError(f"{usage_key} can't be moved to {new}: {error}; nothing was moved") from error


def _key_in(context: LearningContextKey, key: UsageKey) -> UsageKey:
    """Return the key of the block of the same type and name in another context; of an aside, the block's aside."""
    if isinstance(key, AsideUsageKey):
        return cast("UsageKey", key.replace(usage_key=_key_in(context, key.usage_key)))
    # `map_into_course` keeps the class of the key, and each kind of course and library has a class of its own: the
    # result would not parse.
    if isinstance(context, CourseKey):
        return context.make_usage_key(key.block_type, key.block_id)
    if isinstance(context, LibraryLocatorV2):
        return cast("UsageKey", LibraryUsageLocatorV2(context, key.block_type, key.block_id))
    raise ValueError(f"a {type(context).__name__} makes no usage keys; name the blocks")


def _identified(key: object, name: str) -> BlockId:
    if not isinstance(key, UsageKey):
        raise TypeError(f"{name} must be a UsageKey, not {key!r} ({type(key).__name__})")
    return identify_block(key)


def _checked(moves: list[Move]) -> list[Move]:
    for old, new in moves:
        if old == new:
            raise ValueError(f"{old.usage_key} can't be moved to itself")
        # Fields and their meaning, and the recording of history, belong to the type.
        if _kind(old) != _kind(new):
            raise ValueError(
                f"{old.usage_key} can't be moved to {new.usage_key}: {' of '.join(_kind(old))} can't become "
                f"{' of '.join(_kind(new))}"
            )
    olds, news = ([getattr(move, side) for move in moves] for side in Move._fields)
    _refuse_repeated(olds, "is moved twice")
    _refuse_repeated(news, "is the new key of two blocks")
    for block in {*olds} & {*news}:
        raise ValueError(
            f"{block.usage_key} is an old key and a new key; move its own state in a call before the other one"
        )
    return moves


def _kind(block: BlockId) -> tuple[str, ...]:
    """Return the block type, after the type of the aside where the key names an aside."""
    key = parse_block(block.context_key, block.usage_key)
    return (*((key.aside_type,) if isinstance(key, AsideUsageKey) else ()), block.block_type)


def _refuse_repeated(blocks: list[BlockId], fault: str) -> None:
    # Keys with and without a branch name the same block.
    for block, times in Counter(blocks).items():
        if times > 1:
            raise ValueError(f"{block.usage_key} {fault}")

"""The keys of blocks, contexts and block types in canonical form, and the 64-bit ids made from them.

An id is made from the key itself, so it needs no sequence and no lookup and is the same in every database,
shard, backup and archive. It must never change: state is stored under it (see docs/decisions/0002).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

from opaque_keys import InvalidKeyError
from opaque_keys.edx.block_types import BlockTypeKeyV1
from opaque_keys.edx.keys import AsideUsageKey, BlockTypeKey, CourseKey, LearningContextKey, UsageKey
from opaque_keys.edx.locator import CourseLocator
from xblock.fields import Scope

AnyKey = TypeVar("AnyKey", UsageKey, LearningContextKey)

MAX_KEY_LENGTH = 255
"""The longest key, in characters, that the key columns hold."""

# Parsing and printing a key costs as much as parsing a whole state; a course has some thousand blocks.
_CACHED_KEYS = 20_000


class BlockId(NamedTuple):
    """A block in canonical form, with its ids."""

    id: int
    context_id: int
    context_key: str
    usage_key: str
    block_type: str


RowKey = BlockId | str | None
"""The key of a row beside its learner: a block, the text of a block type, or nothing."""

LEARNER_SCOPES = (Scope.user_state, Scope.preferences, Scope.user_info, Scope.user_state_summary)


def hash_key(text: str) -> int:
    """Return the signed 64-bit id of a canonical key text. This must never change."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def identify_block(key: UsageKey) -> BlockId:
    """Return the canonical form of a usage key: without branch and version, in its context.

    Raises ``ValueError`` for a key without a context (an old-style key without its run) or too long to store.
    """
    same, block = _SEEN.get(id(key), (None, None))
    if block is None or same is not key:
        block = _identify_block(key)
        if len(_SEEN) >= _CACHED_KEYS:
            _SEEN.clear()
        _SEEN[id(key)] = key, block
    return block


# Blocks of key objects, which can't change, and are held so that their addresses can't become another's. A key's hash
# is made in Python of all of its parts, and takes longer than what is done with its block.
_SEEN: dict[int, tuple[UsageKey, BlockId]] = {}


@lru_cache(_CACHED_KEYS)
def _identify_block(key: UsageKey) -> BlockId:
    canonical = _canonical_usage_key(key)
    context = _key_text(_context_of(canonical))
    usage = _key_text(canonical)
    return BlockId(hash_key(f"{context}\n{usage}"), hash_key(context), context, usage, canonical.block_type)


@lru_cache(_CACHED_KEYS)
def identify_context(key: LearningContextKey) -> int:
    """Return the id of a learning context. Raises ``ValueError`` for a course key without its run."""
    return hash_key(_key_text(_without_version(key, key)))


@lru_cache(_CACHED_KEYS)
def parse_block(context_key: str, usage_key: str) -> UsageKey:
    """Return the canonical key that was stored as these texts, with the run of its context."""
    key = UsageKey.from_string(usage_key)
    return key if _has_run(_context_of(key)) else key.map_into_course(CourseKey.from_string(context_key))


def identify_block_type(key: BlockTypeKey | str) -> str:
    """Return the text of a block type: a plain name for XBlocks, with its family for any other."""
    try:
        return str(parse_block_type(_key_text(key)))
    except InvalidKeyError as error:
        raise ValueError(f"{key!r} is no block type: {error}") from error


def parse_block_type(text: str) -> BlockTypeKey | str:
    """Return the block type that was stored as `text`: a string for XBlocks, a key for another family."""
    return BlockTypeKeyV1.from_string(text) if text.startswith("block-type-v1:") else text


def row_key(key: object, scope: Scope) -> RowKey:
    """Return where in its scope's table the state named by `key` is kept."""
    if scope is Scope.preferences:
        return _block_type(key)
    if scope is Scope.user_info:
        if key is not None:
            raise TypeError(f"user_info belongs to the learner alone: block_key must be None, not {key!r}")
        return None
    return checked_block(key)


def checked_block(key: object) -> BlockId:
    """Return the canonical form of a usage key or an aside's usage key."""
    if not isinstance(key, UsageKey):
        raise TypeError(f"block_key must be a UsageKey, not {key!r} ({type(key).__name__})")
    return identify_block(key)


def _block_type(key: object) -> str:
    if not isinstance(key, str | BlockTypeKey):
        raise TypeError(
            f"preferences belong to a block type: block_key must be a string or a BlockTypeKey, "
            f"not {key!r} ({type(key).__name__})"
        )
    return identify_block_type(key)


def canonical_key(row: RowKey) -> UsageKey | BlockTypeKey | str | None:
    """Return the key that a row key stands for, in canonical form."""
    if isinstance(row, BlockId):
        return parse_block(row.context_key, row.usage_key)
    return None if row is None else parse_block_type(row)


def is_among(block_type: str, recorded: Collection[str]) -> bool:
    """Tell whether `block_type` is one of those `recorded`, where ``"*"``, alone or in a list, stands for all."""
    return "*" in recorded or block_type in recorded


def is_storable(text: str) -> bool:
    """Tell whether every database can keep a text: PostgreSQL takes no NUL, and half a surrogate pair is no UTF-8."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _canonical_usage_key(key: UsageKey) -> UsageKey:
    if isinstance(key, AsideUsageKey):
        return cast("UsageKey", key.replace(usage_key=_canonical_usage_key(key.usage_key)))
    return _without_version(key, key.context_key)


def _context_of(key: UsageKey) -> LearningContextKey:
    """Return the context of a block; an aside's is its block's."""
    return _context_of(key.usage_key) if isinstance(key, AsideUsageKey) else key.context_key


def _without_version(key: AnyKey, context: LearningContextKey) -> AnyKey:
    if not _has_run(context):
        raise ValueError(f"{key!r} names no course run; map it into its course first (map_into_course)")
    if not hasattr(key, "version_agnostic"):  # Keys of the newer libraries have neither branch nor version.
        return key
    versioned: Any = key
    return cast("AnyKey", versioned.for_branch(None).version_agnostic())


def _has_run(context: LearningContextKey) -> bool:
    """Tell whether a context is named in full: a version alone, or an old-style key by itself, is not enough."""
    if getattr(context, "org", None) is None:
        return False
    return not (isinstance(context, CourseLocator) and context.run is None)


def _key_text(key: object) -> str:
    text = str(key)
    if not text or " " in text or not text.isprintable():
        raise ValueError(f"{text!r} is no key: it is empty, or has white space or characters that can't be printed")
    if len(text) > MAX_KEY_LENGTH:
        raise ValueError(f"the key {text[:60]}… has {len(text)} characters; {MAX_KEY_LENGTH} can be stored")
    return text

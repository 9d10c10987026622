"""The settings, read at run time from ``settings.XBLOCK_USER_STATE``, so that a change needs no restart of tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.conf import settings

from xblock_user_state.state.change import is_among

DEFAULTS: Mapping[str, Any] = {
    # The block types whose every change is kept in the history; "*" for all.
    "RECORDED_BLOCK_TYPES": ["problem"],
}


def configured() -> Any:
    """Return the host's settings as they are, without defaults: a dict, as the system checks see to."""
    return getattr(settings, "XBLOCK_USER_STATE", {})


def recorded_block_types() -> Collection[str]:
    """Return the block types whose history is recorded; ``"*"`` is all of them."""
    found: Collection[str] = configured().get("RECORDED_BLOCK_TYPES", DEFAULTS["RECORDED_BLOCK_TYPES"])
    return found


def is_recorded(block_type: str) -> bool:
    """Tell whether the history of blocks of this type is recorded."""
    return is_among(block_type, recorded_block_types())

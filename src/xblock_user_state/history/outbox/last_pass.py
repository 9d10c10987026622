"""The last complete pass of a relay, in Django's cache: pages of other processes show it.

A table would cost a write for each pass of a relay that has nothing to ship, one each second. A cache that processes do
not share, as Django's default is, leaves other processes without an answer, and they must say so.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import NamedTuple

from django.core.cache import cache

_LOG = logging.getLogger("xblock_user_state.history")

_KEY = "xblock_user_state.last_pass"


class LastPass(NamedTuple):
    """A pass that was complete."""

    ended: datetime
    refused: int
    """Entries that the history database refused. They wait in the outbox."""


def note(refused: int) -> None:
    """Keep that a pass has ended now. A cache that fails ends no pass."""
    try:
        cache.set(_KEY, (time.time(), refused), timeout=None)
    except Exception:  # noqa: BLE001 (any cache's errors: this is a remark beside the work)
        _LOG.warning("the relay's last pass can't be kept in the cache", exc_info=True)


def read() -> LastPass | None:
    """Return the last pass of any relay that shares this process's cache; ``None`` if none is known."""
    try:
        found = cache.get(_KEY)
    except Exception:  # noqa: BLE001 (as above)
        return None
    return LastPass(datetime.fromtimestamp(found[0], UTC), found[1]) if found else None

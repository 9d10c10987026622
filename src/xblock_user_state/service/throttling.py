"""Limits the requests of each token, by counts in Django's cache.

Windows of a fixed length are counted by one atomic call of the cache. Ninja's own throttles lose requests of the same
moment.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import time
from typing import NamedTuple

from django.core.cache import cache

from xblock_user_state import conf

_LOG = logging.getLogger("xblock_user_state.service")
_RATE = re.compile(r"([1-9]\d{0,8})/([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class TooManyRequests(Exception):
    """The caller has sent more requests than the setting ``SERVICE_THROTTLE`` allows."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many requests; the next is allowed in {retry_after} seconds")
        self.retry_after = retry_after
        """Seconds, for the header ``Retry-After``."""


class Rate(NamedTuple):
    """A number of requests in a number of seconds."""

    requests: int
    seconds: int


def parse_rate(text: object) -> Rate:
    """Return the rate of a text such as ``"600/m"``: requests in a second, minute, hour or day."""
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f'{text!r} is not a rate, such as "600/m"')
    return Rate(int(found[1]), _SECONDS[found[2]])


def throttle(caller: str) -> None:
    """Count a request of a caller. Raises `TooManyRequests`; a cache that is down limits nobody."""
    text = conf.value("SERVICE_THROTTLE")
    if text is None:
        return
    rate, now = parse_rate(text), time.time()
    window = int(now // rate.seconds)
    try:
        number = _count(f"{caller}\n{window}", rate.seconds)
    except Exception:  # noqa: BLE001 (each cache has its own errors)
        _LOG.warning("the cache does not count requests, so nobody is throttled", exc_info=True)
        return
    if number > rate.requests:
        raise TooManyRequests(max(1, math.ceil((window + 1) * rate.seconds - now)))


def _count(caller: str, seconds: int) -> int:
    """Return the number of this request in its window. Two calls of the cache for the first, then one."""
    # A hash, because some caches limit the length of keys and their characters.
    key = f"xblock_user_state.requests.{hashlib.blake2b(caller.encode(errors='replace'), digest_size=16).hexdigest()}"
    try:
        return cache.incr(key)
    except ValueError:
        # Of several first requests one adds the count, and the others find it.
        return 1 if cache.add(key, 1, timeout=seconds) else cache.incr(key)

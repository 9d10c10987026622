"""A visitor's entry in Django's cache: all of their rows under one key.

There is one entry, not one for each block, because a cache can't list its keys: adoption finds all rows in the entry.
Several changes are stored together or not at all, and one size limit and one expiry hold for all rows. Each change
rewrites the entry; the size limit keeps that cheap.

A cache has no transactions. A lock makes changes take turns: a key that `add` creates for only one of them. The lock
expires, so that a dead process does not block the others. A change that held the lock too long notices that before it
stores, and repeats. No change is lost where `add` is atomic, as in Django's backends for Memcached, Redis, databases
and local memory, unless a process stalls between that check and the store.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from django.core.cache import BaseCache, caches

from xblock_user_state.interface import PermissionDenied, ServiceUnavailable
from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import RowKey

# Count the number up when the stored format changes: old entries are then ignored and expire.
KEY = "xblock_user_state.visitor.1.{}"

ADOPTED: Literal["adopted"] = "adopted"
"""The entry after adoption. It makes a late request of the visitor fail, instead of losing its change."""

LOCK_SECONDS = 10
"""The expiry of a lock, for a holder that has died."""

WAIT_SECONDS = 15
"""The longest wait for a lock: longer than its expiry, so that a dead process makes no request fail."""

BYTES_FOR_A_ROW = 400
"""The size of a row without its text: keys, numbers and times."""

RowAddress = tuple[str, RowKey]
"""The name of a scope, and the key of the row in it."""

Rows = Mapping[RowAddress, Row]

Stored = Rows | Literal["adopted"]


class VisitorEntry:
    """The rows of one visitor."""

    def __init__(self, visitor: str, cache: str, timeout: int, max_bytes: int) -> None:
        self._key = KEY.format(visitor)
        self._lock_key = f"{self._key}.lock"
        self._alias = cache
        self._timeout = timeout
        self._max_bytes = max_bytes

    def rows(self) -> Rows:
        """Return the rows: none after they have expired or were adopted. One round trip."""
        with _errors_translated(self._alias):
            found = self._cache.get(self._key)
        return {} if found in (None, ADOPTED) else found

    def change(self, change: Callable[[Rows], Rows]) -> Rows:
        """Replace the rows by the result of `change`, and return it, under the lock. `change` may be called again.

        Raises `PermissionDenied`, and changes nothing, after an adoption or if the rows become too large. A change that
        leaves the rows equal does not move their expiry.
        """
        changed: Rows = {}

        def checked(stored: Stored) -> Stored:
            nonlocal changed
            if stored == ADOPTED:
                raise PermissionDenied("this visitor has logged in; their state is kept in their account")
            changed = change(stored)
            self._check_size(changed)
            return changed

        self._replace(checked)
        return changed

    def hand_over(self, take: Callable[[Rows], None]) -> None:
        """Pass the rows to `take`, and remove them when it has returned.

        `take` may be called again. It is not called where there are no rows, as after an earlier success.
        """

        def handed_over(stored: Stored) -> Stored:
            if stored and stored != ADOPTED:
                take(stored)
            return ADOPTED

        self._replace(handed_over)

    def _replace(self, action: Callable[[Stored], Stored]) -> None:
        waits_until = time.monotonic() + WAIT_SECONDS
        while not self._is_replaced(action):
            if time.monotonic() > waits_until:
                raise ServiceUnavailable("other requests have been changing this visitor's state for too long")
            # Random, so that waiting requests do not try in step.
            time.sleep(random.uniform(0.001, 0.02))

    def _is_replaced(self, action: Callable[[Stored], Stored]) -> bool:
        token = secrets.token_hex(8)
        with self._locked(token) as is_mine:
            if not is_mine:
                return False
            with _errors_translated(self._alias):
                before: Stored = self._cache.get(self._key) or {}
            after = action(before)
            if after == before:
                return True
            with _errors_translated(self._alias):
                # The lock has expired, and another change may have stored meanwhile.
                if self._cache.get(self._lock_key) != token:
                    return False
                self._cache.set(self._key, after, self._timeout)
        return True

    @contextmanager
    def _locked(self, token: str) -> Iterator[bool]:
        with _errors_translated(self._alias):
            is_mine = self._cache.add(self._lock_key, token, LOCK_SECONDS)
        try:
            yield is_mine
        finally:
            with _errors_translated(self._alias):
                # An expired lock may be another's by now.
                if is_mine and self._cache.get(self._lock_key) == token:
                    self._cache.delete(self._lock_key)

    def _check_size(self, rows: Rows) -> None:
        size = sum(len(row.text or "") + BYTES_FOR_A_ROW for row in rows.values())
        if size > self._max_bytes:
            raise PermissionDenied(
                f"a visitor's state may take {self._max_bytes} bytes, and this change would make it {size};"
                " there is no such limit after login"
            )

    @property
    def _cache(self) -> BaseCache:
        return caches[self._alias]


@contextmanager
def _errors_translated(alias: str) -> Iterator[None]:
    """Raise `ServiceUnavailable` for any error of the cache: each backend has its own errors."""
    try:
        yield
    except Exception as error:
        raise ServiceUnavailable(f"the cache {alias!r} of visitors' state failed: {error}") from error

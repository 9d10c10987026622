"""A visitor's entry in Django's cache: all of their rows under one key.

One entry and not one for each block: a cache lists no keys, so whoever adopts the rows finds them all here; several
changes are stored at once or not at all; there is one size to be bounded and one time at which all is gone. Each change
rewrites the entry, which the bound keeps cheap.

A cache has no transactions. Changes take turns by a lock: a key that `add` makes for one of them only. It expires, so
that the others go on where a process has died. Who has held it for too long finds that out before storing, and repeats.
So no change is lost where `add` is atomic, as it is in Django's backends for Memcached, Redis, databases and the
process's memory, unless somebody stalls between that look and the storing.
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

# The number is that of the format: who changes what is stored counts it up, and old entries are left to expire.
KEY = "xblock_user_state.visitor.1.{}"

ADOPTED: Literal["adopted"] = "adopted"
"""What is left of an entry whose rows an account has: a late request of the visitor must not write into the void."""

LOCK_SECONDS = 10
"""A lock whose holder has died is gone after so long."""

WAIT_SECONDS = 15
"""Longer than a lock lasts, so that no dead process makes a request fail."""

BYTES_FOR_A_ROW = 400
"""What a row takes beside its text: keys, numbers and times."""

Place = tuple[str, RowKey]
"""The name of a scope, and the key of the row in it."""

Rows = Mapping[Place, Row]

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
        """Return the rows: none if they have expired, or an account has them. One look into the cache."""
        with _errors_translated(self._alias):
            found = self._cache.get(self._key)
        return {} if found in (None, ADOPTED) else found

    def change(self, change: Callable[[Rows], Rows]) -> None:
        """Replace the rows by what `change` makes of them, alone among all changes; it may be called again.

        Raises `PermissionDenied`, and nothing is changed, where an account has the rows or they become too large. What
        changes nothing leaves the time at which they expire alone.
        """

        def checked(stored: Stored) -> Stored:
            if stored == ADOPTED:
                raise PermissionDenied("this visitor has logged in; their state is kept in their account")
            rows = change(stored)
            self._check_size(rows)
            return rows

        self._replace(checked)

    def hand_over(self, take: Callable[[Rows], None]) -> None:
        """Let `take` put the rows elsewhere, and when it has returned, keep them no more.

        It may be called again, and is not called where there are no rows, such as after it has returned.
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
                if is_mine and self._cache.get(self._lock_key) == token:
                    self._cache.delete(self._lock_key)

    def _check_size(self, rows: Rows) -> None:
        size = sum(len(row.text or "") + BYTES_FOR_A_ROW for row in rows.values())
        if size > self._max_bytes:
            raise PermissionDenied(
                f"a visitor's state may take {self._max_bytes} bytes, and this would make it {size}; it is kept without"
                " such a bound once they have logged in"
            )

    @property
    def _cache(self) -> BaseCache:
        return caches[self._alias]


@contextmanager
def _errors_translated(alias: str) -> Iterator[None]:
    """Raise errors of the cache as the contract's: which they are depends on its backend."""
    try:
        yield
    except Exception as error:
        raise ServiceUnavailable(f"the cache {alias!r}, which keeps the state of visitors, failed: {error}") from error

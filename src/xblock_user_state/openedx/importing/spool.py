"""Holds the built history of one row, of any length, in bounded memory."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import chain
from tempfile import TemporaryFile
from typing import IO
from weakref import finalize

from xblock_user_state.store.dialects.rows import Values

PAGE = 500
"""Entries in memory. Nearly every row has fewer."""


class Spool:
    """History entries in the order of their revisions; those beyond a page wait in a temporary file without a name."""

    def __init__(self) -> None:
        self._last: list[Values] = []
        self._pages = 0
        self._file: IO[bytes] | None = None

    def append(self, entry: Values) -> None:
        """Append an entry. Raises ``OSError`` if the disk is full."""
        if len(self._last) == PAGE:
            self._spill()
        self._last.append(entry)

    def __len__(self) -> int:
        return self._pages * PAGE + len(self._last)

    def pages(self, skipped: int = 0) -> Iterator[list[Values]]:
        """Yield the entries after the first `skipped`, in lists of up to `PAGE`."""
        for page in chain(self._spilled(), [self._last]):
            if rest := page[skipped:]:
                yield rest
            skipped = max(0, skipped - len(page))

    def _spill(self) -> None:
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115 - closed with this object
            finalize(self, self._file.close)
        pickle.dump(self._last, self._file, pickle.HIGHEST_PROTOCOL)
        self._pages += 1
        self._last = []

    def _spilled(self) -> Iterator[list[Values]]:
        if self._file is not None:
            self._file.seek(0)
            for _ in range(self._pages):
                page: list[Values] = pickle.load(self._file)  # noqa: S301 - this object wrote it
                yield page

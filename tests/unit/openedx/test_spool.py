"""Built histories of any length in bounded memory."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import UTC, datetime

import pytest

from xblock_user_state.openedx.importing import spool
from xblock_user_state.openedx.importing.spool import Spool
from xblock_user_state.store.dialects.rows import Values

NOON = datetime(2021, 9, 1, 12, tzinfo=UTC)


def entry(revision: int, size: int = 1) -> Values:
    return 1, -2, revision, NOON, 2, None, 1.5, None, bytes(size)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("skipped", [0, 1, 4, 6, 9])
def test_entries_come_back_in_order(monkeypatch: pytest.MonkeyPatch, count: int, skipped: int) -> None:
    monkeypatch.setattr(spool, "PAGE", 4)
    entries = [entry(revision) for revision in range(count)]
    spooled = Spool()
    for each in entries:
        spooled.append(each)
    assert len(spooled) == count
    # Twice, as for a row that is taken again.
    for _ in range(2):
        pages = list(spooled.pages(skipped))
        assert [each for page in pages for each in page] == entries[skipped:]
        assert all(0 < len(page) <= 4 for page in pages)


def test_memory_does_not_grow_with_the_number_of_entries() -> None:
    peaks = []
    for pages in (2, 20):
        gc.collect()
        tracemalloc.start()
        spooled = Spool()
        for number in range(pages * spool.PAGE):
            spooled.append(entry(number, 1000))
        assert sum(len(page) for page in spooled.pages()) == pages * spool.PAGE
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]

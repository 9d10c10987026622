"""Reading a history takes the memory of one page, whatever its length."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from opaque_keys.edx.keys import UsageKey

from tests.factories import make_block, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.encoding import MAX_CHAIN, encode_compact
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.state import codec

pytestmark = pytest.mark.django_db

SHORT, LONG = 100, 2_000
STATE_BYTES = 4_000


def _make_history(block: UsageKey, count: int) -> None:
    """Give ada a history of `count` entries in the block, as the client writes them."""
    client = DjangoXBlockUserStateClient()
    client.set("ada", block, {"attempts": 0, "answer": "x" * STATE_BYTES})
    first = StudentModule.objects.get(block__usage_key=str(block))
    texts = [codec.encode({"attempts": number, "answer": "x" * STATE_BYTES}) for number in range(count)]
    now = datetime.now(UTC)
    StudentModuleHistory._base_manager.bulk_create(
        StudentModuleHistory(
            student_id=first.student_id,
            block_id=first.block_id,
            revision=revision,
            created=now,
            **_encoded(text, None if revision % MAX_CHAIN == 1 else before),
        )
        for revision, (before, text) in enumerate(pairwise(texts), start=2)
    )


def _encoded(text: str, before: str | None) -> dict[str, Any]:
    return dict(zip(("encoding", "body"), encode_compact(text, before), strict=True))


def _peak(block: UsageKey) -> tuple[int, int]:
    """Read the whole history and keep nothing. Return the number of entries, and the peak of memory in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        entries = sum(1 for _ in DjangoXBlockUserStateClient().get_history("ada", block))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return entries, peak - before


def test_memory_does_not_grow_with_the_length_of_the_history() -> None:
    make_learners("ada")
    short, long = make_block("short"), make_block("long")
    _make_history(short, SHORT)
    _make_history(long, LONG)
    # Imports and caches at the first read are not part of the measurement.
    _peak(short)

    (of_short, peak_of_short), (of_long, peak_of_long) = _peak(short), _peak(long)

    assert (of_short, of_long) == (SHORT, LONG)
    # A page is somewhat longer than the short history, and two pages overlap.
    assert peak_of_long < 5 * peak_of_short

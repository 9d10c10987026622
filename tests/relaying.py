"""Ships the outbox as a relay does, one transaction for each batch."""

from __future__ import annotations

from django.db.models import Q

from xblock_user_state.history.outbox.answers import BATCH_SECONDS
from xblock_user_state.history.outbox.shipping import ship


def ship_any(size: int = 100, seconds: float = BATCH_SECONDS) -> int:
    """Ship up to `size` rows of any learners; return their number."""
    return ship("default", Q(), size, seconds=seconds).rows


def ship_all() -> None:
    """Ship until the outbox is empty."""
    while ship_any():
        pass

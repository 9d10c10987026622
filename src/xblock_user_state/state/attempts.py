"""The fields in which XBlocks count the attempts of a learner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIELDS = ("attempts", "count_attempts", "num_attempts")
"""Names in capa and drag-and-drop, in freetextresponse and submit-and-compare, and in problem-builder."""


def counters_in(state: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a state that count attempts, with their values."""
    return {name: state[name] for name in FIELDS if name in state} if state else {}

"""Bucket bounds of histograms by unit, for systems that need them in advance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_NUMBERS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000)

BUCKETS: Mapping[str, Sequence[float]] = {
    "ms": (0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 15_000),
    "bytes": (16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576),
    "blocks": _NUMBERS,
    "fields": _NUMBERS,
}

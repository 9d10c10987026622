"""Bar charts as numbers for inline SVG. Each chart has a table behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from django.utils import formats, timezone

BARS = 62
"""The maximum number of bars: days of two months, or as many weeks, or months."""

LABELLED = 12
"""The maximum number of bars with a label and a value below each."""

_WIDTH, _HEIGHT = 640, 120


class Bar(NamedTuple):
    """A bar with its label and value, and its place in the SVG."""

    label: str
    value: int
    x: float
    y: float
    width: float
    height: float


class Chart(NamedTuple):
    """The bars of a chart of `width` by `height`."""

    bars: Sequence[Bar]
    width: int = _WIDTH
    height: int = _HEIGHT

    @property
    def has_labels(self) -> bool:
        """Tell whether each bar has room for its label and value below it."""
        return len(self.bars) <= LABELLED


def chart(values: Sequence[tuple[str, int]]) -> Chart | None:
    """Return the chart of labelled values; ``None`` without values."""
    most = max((value for _, value in values), default=0)
    if not most:
        return None
    step = _WIDTH / len(values)
    bars = []
    for place, (label, value) in enumerate(values):
        # A value above 0 can be seen.
        height = max(2.0, _HEIGHT * value / most) if value else 0.0
        width = round(min(step * 0.8, 40), 2)
        bars.append(Bar(label, value, round(place * step, 2), round(_HEIGHT - height, 2), width, round(height, 2)))
    return Chart(bars)


def over_time(moments: Iterable[datetime]) -> list[tuple[str, int]]:
    """Return the count of each local day from the first to the last, or of each week or month if there are too many."""
    # Django looks the zone up at each call of `localdate`: for the rows of a course that takes long.
    zone = timezone.get_current_timezone()
    found = Counter(moment.astimezone(zone).date() for moment in moments)
    if not found:
        return []
    first, last = min(found), max(found)
    span = (last - first).days + 1
    if span > BARS * 7:
        return _by_month(found)
    size = 1 if span <= BARS else 7
    sums: Counter[int] = Counter()
    for day, count in found.items():
        sums[(day - first).days // size] += count
    starts = (first + timedelta(days=place * size) for place in range((span - 1) // size + 1))
    return [(formats.date_format(start, "SHORT_DATE_FORMAT"), sums[place]) for place, start in enumerate(starts)]


def _by_month(found: Counter[date]) -> list[tuple[str, int]]:
    sums: Counter[tuple[int, int]] = Counter()
    for day, count in found.items():
        sums[day.year, day.month] += count
    (year, month), last = min(sums), max(sums)
    months = []
    while (year, month) <= last:
        months.append((f"{year}-{month:02}", sums[year, month]))
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return months[-BARS:]

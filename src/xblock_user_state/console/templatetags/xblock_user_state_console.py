"""Times, points and addresses in the console's templates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def moment(when: datetime | None) -> SafeString | str:
    """Return a time in the current time zone with its weekday, followed by the time in UTC where that is another."""
    if when is None:
        return "–"
    here = timezone.localtime(when)
    shown = (
        f"{formats.date_format(here, 'D')}, {formats.date_format(here, 'DATE_FORMAT')}, {here:%H:%M:%S} {here.tzname()}"
    )
    utc = when.astimezone(UTC)
    if here.utcoffset() == utc.utcoffset():
        return format_html('<time datetime="{}">{}</time>', when.isoformat(), shown)
    # With its date if that is another.
    also = f"{utc:%H:%M:%S} UTC" if utc.date() == here.date() else f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}">{} <small>({})</small></time>', when.isoformat(), shown, also)


@register.filter
def points(value: float | None) -> str:
    """Format points with at most two decimals and no trailing zeros."""
    return "–" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


@register.filter
def score(scored: Any) -> str:
    """Format the score of an object with ``grade`` and ``max_grade``."""
    if scored is None or (scored.grade is None and scored.max_grade is None):
        return "–"
    return points(scored.grade) if scored.max_grade is None else f"{points(scored.grade)} / {points(scored.max_grade)}"

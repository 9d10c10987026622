"""Template filters for points, scores and long values."""

from __future__ import annotations

from typing import Protocol

from django import template

from demo.host.timeline import SHORT

register = template.Library()


class Scored(Protocol):
    """An object with a score: a state row, a history entry or a `BlockScore`."""

    grade: float
    max_grade: float | None


@register.filter
def points(value: float) -> str:
    """Format points with at most two decimals and no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


@register.filter
def score(scored: Scored) -> str:
    if scored.max_grade is None:
        return points(scored.grade)
    return f"{points(scored.grade)} / {points(scored.max_grade)}"


@register.filter
def is_long(text: str) -> bool:
    """Tell whether a value may be too tall for its box, which then needs the keyboard's focus to scroll."""
    return len(text) > SHORT

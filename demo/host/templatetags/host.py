"""Template filters for points and scores."""

from __future__ import annotations

from typing import Protocol

from django import template

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

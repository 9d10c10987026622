"""Points and scores as people write them."""

from __future__ import annotations

from typing import Protocol

from django import template

register = template.Library()


class Scored(Protocol):
    """A state row, a history entry or a score of the client."""

    grade: float
    max_grade: float | None


@register.filter
def points(value: float) -> str:
    """Return 1 for 1.0, and at most two digits behind the point."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


@register.filter
def score(scored: Scored) -> str:
    if scored.max_grade is None:
        return points(scored.grade)
    return f"{points(scored.grade)} / {points(scored.max_grade)}"

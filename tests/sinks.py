"""Metrics sinks that tests name in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

PREFIX = "DjangoXBlockUserStateClient."


class Measurement(NamedTuple):
    verb: str
    name: str
    value: float
    tags: Mapping[str, str]


class Measurements(list[Measurement]):
    """Reported measurements in order. Names lack the prefix that all of them share."""

    def values(self, name: str, **tags: str) -> list[float]:
        """Return the values of one metric with at least these tags."""
        return [one.value for one in self if one.name == name and tags.items() <= one.tags.items()]

    def total(self, name: str, **tags: str) -> float:
        return sum(self.values(name, **tags))

    def names(self) -> set[str]:
        return {one.name for one in self}


class KeepingSink:
    """Appends each measurement to the test's list."""

    def __init__(self, into: Measurements) -> None:
        self._into = into

    def count(self, name: str, value: int, tags: Mapping[str, str]) -> None:
        self._into.append(Measurement("count", name.removeprefix(PREFIX), value, dict(tags)))

    def record(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        self._into.append(Measurement("record", name.removeprefix(PREFIX), value, dict(tags)))


class RaisingSink:
    """Raises at each measurement."""

    def count(self, *_: Any) -> None:
        raise ConnectionError("nobody takes metrics")

    record = count


def keeping_sink(into: Measurements) -> dict[str, Any]:
    """Return the setting ``METRICS`` that appends measurements to `into`."""
    return {"SINK": "tests.sinks.KeepingSink", "OPTIONS": {"into": into}}

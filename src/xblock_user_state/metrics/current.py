"""The sink that the settings name at the moment. Without a sink each function costs one read of the settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import NamedTuple

from django.utils.module_loading import import_string

from xblock_user_state import conf
from xblock_user_state.metrics.names import Metric
from xblock_user_state.metrics.reporter import Reporter
from xblock_user_state.metrics.sink import MetricsSink

_LOG = logging.getLogger("xblock_user_state.metrics")


class Resolved(NamedTuple):
    """The result of a setting: a reporter, or the problem with its sink."""

    setting: object
    reporter: Reporter | None
    problem: str | None


_NOTHING = Resolved(None, None, None)


class _Resolver:
    """Makes the sink once, and again after the setting became another object."""

    def __init__(self) -> None:
        self._newest = _NOTHING

    def resolved(self, setting: object) -> Resolved:
        newest = self._newest
        # By identity: a changed setting is another object, and the comparison costs nothing.
        if newest.setting is not setting:
            newest = self._newest = _resolve(setting)
        return newest


_RESOLVER = _Resolver()


def resolved() -> Resolved:
    """Return the result of the current setting."""
    setting = conf.metrics()
    return _NOTHING if setting is None else _RESOLVER.resolved(setting)


def reporter() -> Reporter | None:
    """Return the reporter of the current sink; ``None`` without a sink, or if the sink can't be made (logged)."""
    setting = conf.metrics()
    return None if setting is None else _RESOLVER.resolved(setting).reporter


def started() -> float | None:
    """Return the time, for `elapsed`; ``None`` if there is no sink."""
    return None if reporter() is None else time.perf_counter()


def elapsed(since: float) -> float:
    """Return the milliseconds since the time that `started` returned."""
    return (time.perf_counter() - since) * 1000


def count(metric: Metric, value: int, *tags: str) -> None:
    """Add to a counter, if there is a sink; `tags` are the values of its tags."""
    found = reporter()
    if found is not None:
        found.count(metric, value, *tags)


def record(metric: Metric, value: float, *tags: str) -> None:
    """Add a value to a histogram, or set a gauge, if there is a sink; `tags` are the values of its tags."""
    found = reporter()
    if found is not None:
        found.record(metric, value, *tags)


def _resolve(setting: object) -> Resolved:
    try:
        return Resolved(setting, Reporter(_made(setting)), None)
    except Exception as error:  # noqa: BLE001 (a sink is the host's code; the system check shows the exception)
        problem = f"{type(error).__name__}: {error}"
        _LOG.warning('XBLOCK_USER_STATE["METRICS"] names no sink, so nothing is reported: %s', problem)
        return Resolved(setting, None, problem)


def _made(setting: object) -> MetricsSink:
    parts: object = {"SINK": setting} if isinstance(setting, str) else setting
    if not isinstance(parts, Mapping) or "SINK" not in parts or parts.keys() - {"SINK", "OPTIONS"}:
        raise TypeError('it must be a dotted path, or a dict of "SINK", a dotted path, and perhaps "OPTIONS", a dict')
    made = import_string(parts["SINK"])(**parts.get("OPTIONS", {}))
    for verb in ("count", "record"):
        if not callable(getattr(made, verb, None)):
            raise TypeError(f"{parts['SINK']} makes a {type(made).__name__}, which has no method {verb!r}")
    sink: MetricsSink = made
    return sink

"""The sink that the settings name now. Without one, what is here costs a look at the settings and nothing else."""

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
    """What became of a setting: a reporter, or the problem that keeps it from being one."""

    setting: object
    reporter: Reporter | None
    problem: str | None


_NOTHING = Resolved(None, None, None)


class _Resolver:
    """Makes the sink once, and again when the setting is another object."""

    def __init__(self) -> None:
        self._newest = _NOTHING

    def resolved(self, setting: object) -> Resolved:
        newest = self._newest
        if newest.setting is not setting:
            newest = self._newest = _resolve(setting)
        return newest


_RESOLVER = _Resolver()


def resolved() -> Resolved:
    """Return what became of the setting as it is now."""
    setting = conf.metrics()
    return _NOTHING if setting is None else _RESOLVER.resolved(setting)


def reporter() -> Reporter | None:
    """Return who reports to the sink; ``None`` if there is none, or it could not be made, which the log tells."""
    setting = conf.metrics()
    return None if setting is None else _RESOLVER.resolved(setting).reporter


def started() -> float | None:
    """Return when it is, for `elapsed`; ``None`` if nobody wants to know."""
    return None if reporter() is None else time.perf_counter()


def elapsed(since: float) -> float:
    """Return the milliseconds since `started` was called."""
    return (time.perf_counter() - since) * 1000


def count(metric: Metric, value: int, *tags: str) -> None:
    """Add to a counter, if there is a sink; `tags` are the values of its tags."""
    found = reporter()
    if found is not None:
        found.count(metric, value, *tags)


def record(metric: Metric, value: float, *tags: str) -> None:
    """Report one value, if there is a sink; `tags` are the values of its tags."""
    found = reporter()
    if found is not None:
        found.record(metric, value, *tags)


def _resolve(setting: object) -> Resolved:
    try:
        return Resolved(setting, Reporter(_made(setting)), None)
    except Exception as error:  # noqa: BLE001 (a sink is the host's code; the system check tells what it raised)
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

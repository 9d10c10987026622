"""The workloads: each measures one aspect of all contenders on one database, and returns its results as JSON."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from bench.site.environment import DATABASES, SERVERS


class Entry(NamedTuple):
    """A workload's module, which needs Django set up with these settings, and the databases that it measures."""

    module: str
    settings: str = "bench.site.settings"
    databases: tuple[str, ...] = SERVERS


WORKLOADS = {
    "calls": Entry("bench.workloads.calls"),
    "latency": Entry("bench.workloads.latency"),
    "page": Entry("bench.workloads.page"),
    "processes": Entry("bench.workloads.processes"),
    "voting": Entry("bench.workloads.voting", "demo.settings"),
    "iteration": Entry("bench.workloads.iteration"),
    "growth": Entry("bench.workloads.growth"),
    "storage": Entry("bench.workloads.storage"),
    "metrics": Entry("bench.workloads.metrics"),
    "startup": Entry("bench.workloads.startup"),
    "profile": Entry("bench.workloads.profiling"),
    "history-size": Entry("bench.workloads.history_size", "demo.settings", DATABASES),
    "maintenance": Entry("bench.workloads.maintenance", databases=DATABASES),
    "console": Entry("bench.workloads.console", "bench.site.console_settings"),
    "remote": Entry("bench.workloads.remote", databases=("postgresql",)),
    "openedx-import": Entry("bench.workloads.openedx_import", "bench.site.openedx_settings", DATABASES),
}
"""The workloads by name, in the order in which they run."""

NOT_QUICK = ("growth", "storage", "history-size")
"""Workloads that a quick run leaves out: small tables say nothing about growth, and little about bytes."""


class Workload(Protocol):
    """The interface of a workload's module.

    A module may also have ``prepare(folder)``, which runs once before the measurements on all databases.
    """

    def measure(self, folder: Path) -> dict[str, Any]:
        """Measure on this process's database."""


def load(name: str) -> Workload:
    """Import a workload. Django must be set up."""
    return cast(Workload, importlib.import_module(WORKLOADS[name].module))


def prepare(name: str, folder: Path) -> None:
    """Run the preparation of a workload, if it has one. Django must be set up with the demo's settings."""
    step: Callable[[Path], None] = getattr(load(name), "prepare", lambda _: None)
    step(folder)

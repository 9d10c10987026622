"""Where workloads run: each on databases of the benchmark, in the host that it needs."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import django
from django.core.management import call_command

from bench.report import Results

SERVERS = ("postgresql", "mariadb")
DATABASES = (*SERVERS, "sqlite")


class Place(NamedTuple):
    """The module of a workload, which needs Django set up, the settings of its host, and where it is measured."""

    module: str
    settings: str = "bench.settings"
    databases: tuple[str, ...] = SERVERS


WORKLOADS = {
    "calls": Place("bench.calls"),
    "latency": Place("bench.latency"),
    "processes": Place("bench.processes"),
    "iteration": Place("bench.iteration"),
    "growth": Place("bench.growth"),
    "storage": Place("bench.storage"),
    "metrics": Place("bench.metrics"),
    "profile": Place("bench.profiling"),
    "history-size": Place("bench.history_size", "demo.settings", DATABASES),
}
"""The workloads by their names."""

SLOW_IN_VAIN = ("growth", "storage", "history-size")
"""What a quick run leaves out: small tables tell nothing of growth, and little of bytes."""


class Workload(Protocol):
    """What the module of a workload has. What only some of them have is in `optional`."""

    def measure(self, folder: Path) -> Results:
        """Measure on this process's database."""

    def section(self, results: Mapping[str, Results]) -> str:
        """Return the section of the page, from the results of each database by its name."""


def set_up(folder: Path, url: str, settings: str) -> None:
    """Set Django up on a new database, with all that the host keeps in `folder`."""
    # Whatever the caller's environment says of a demo of theirs.
    for name in ("HISTORY_DATABASE_URL", "DEMO_COURSE", "DEMO_EXTENDED_HISTORY"):
        os.environ.pop(name, None)
    os.environ |= {"DJANGO_SETTINGS_MODULE": settings, "DEMO_VAR": str(folder), "DATABASE_URL": url}
    # The packages of the blocks use much that is deprecated; that is theirs to mend.
    warnings.simplefilter("ignore")
    django.setup()
    call_command("migrate", verbosity=0)


def load(name: str) -> Workload:
    """Return a workload. Django must be set up."""
    return cast(Workload, importlib.import_module(WORKLOADS[name].module))


def optional(workload: Workload, step: str) -> Callable[..., None]:
    """Return a step that only some workloads have, or one that does nothing.

    ``prepare(folder)`` makes what the measurements on all databases share; ``draw(results)`` draws the charts that the
    section shows.
    """
    return getattr(workload, step, lambda _: None)

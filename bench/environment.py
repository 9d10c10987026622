"""Where workloads run: the demo's host, on a database of the benchmark."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

import django
from django.core.management import call_command

from bench.report import Results

WORKLOADS = {"history-size": "bench.history_size"}
"""The names of the workloads, and their modules, which need Django set up."""


class Workload(Protocol):
    """What the module of a workload has."""

    def prepare(self, folder: Path) -> None:
        """Make what the measurements on all databases share, in `folder`."""

    def measure(self, folder: Path) -> Results:
        """Measure on this process's database."""

    def section(self, results: Mapping[str, Results]) -> str:
        """Return the section of the page, from the results of each database by its name."""


def set_up(folder: Path, url: str) -> None:
    """Set Django up on a new database, with all that the demo's host keeps in `folder`."""
    # Whatever the caller's environment says of a demo of theirs.
    for name in ("HISTORY_DATABASE_URL", "DEMO_COURSE", "DEMO_EXTENDED_HISTORY"):
        os.environ.pop(name, None)
    os.environ |= {"DJANGO_SETTINGS_MODULE": "demo.settings", "DEMO_VAR": str(folder), "DATABASE_URL": url}
    # The packages of the blocks use much that is deprecated; that is theirs to mend.
    warnings.simplefilter("ignore")
    django.setup()
    call_command("migrate", verbosity=0)


def load(name: str) -> Workload:
    """Return a workload. Django must be set up."""
    return cast(Workload, importlib.import_module(WORKLOADS[name]))

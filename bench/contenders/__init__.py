"""The implementations under comparison: this package, the reference, two peers, and raw SQL as the limit.

Their modules need Django set up, and some need a driver that not every environment has, so `named` imports them late.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import cast

from django.db import connection

from bench.contenders.base import Contender

OURS = "ours"
OURS_WARM = "ours, warm"
REFERENCE = "reference"
SIMPLE_HISTORY = "django-simple-history"
PGHISTORY = "django-pghistory"
RAW = "raw"
RAW_WARM = "raw, warm"
IN_MEMORY = "in memory"
"""Pages without a database: the time of XBlock and of the blocks themselves."""

CORE = (OURS, REFERENCE, RAW)
ALL = (OURS, OURS_WARM, REFERENCE, SIMPLE_HISTORY, PGHISTORY, RAW, RAW_WARM)
WARM = (OURS_WARM, RAW_WARM)

_EVERYWHERE = ("postgresql", "mysql", "sqlite")
_CLASSES = {
    (OURS, _EVERYWHERE): "bench.contenders.ours.Ours",
    (OURS_WARM, _EVERYWHERE): "bench.contenders.ours.OursWarm",
    (REFERENCE, _EVERYWHERE): "bench.contenders.reference.Reference",
    (SIMPLE_HISTORY, _EVERYWHERE): "bench.contenders.simple_history.SimpleHistory",
    (PGHISTORY, ("postgresql",)): "bench.contenders.triggers.Triggers",
    (RAW, ("postgresql",)): "bench.contenders.raw_postgresql.Raw",
    (RAW_WARM, ("postgresql",)): "bench.contenders.raw_postgresql.RawWarm",
    (RAW, ("mysql",)): "bench.contenders.raw_mariadb.Raw",
    (RAW_WARM, ("mysql",)): "bench.contenders.raw_mariadb.RawWarm",
}


def named(names: Iterable[str]) -> dict[str, Contender]:
    """Return the contenders of these names that support the default database."""
    paths = {name: path for (name, vendors), path in _CLASSES.items() if connection.vendor in vendors}
    return {name: _make(paths[name]) for name in names if name in paths}


def _make(path: str) -> Contender:
    module, _, name = path.rpartition(".")
    return cast(Contender, getattr(import_module(module), name)())

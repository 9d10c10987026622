"""Description of the machine, the versions and the kind of run, which each section of the page states first."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from time import perf_counter

from bench.site import scale

_QUICK = "A quick run"
_DISTRIBUTIONS = ("Django", "psycopg", "mysqlclient", "django-simple-history", "django-pghistory", "orjson")


def line() -> str:
    """Return one paragraph of text. Takes some milliseconds: it times the disk."""
    kind = f"{_QUICK}, with few repetitions and small tables" if scale.is_quick() else "A full run"
    return f"{kind}, on {_processor()}, {platform.system()} {platform.release()}; {_versions()}. {_disk()}"


def is_of_quick_run(line: str) -> bool:
    """Tell whether the paragraph describes a quick run."""
    return line.startswith(_QUICK)


def _processor() -> str:
    models = [
        text.partition(":")[2].strip()
        for text in Path("/proc/cpuinfo").read_text().splitlines()
        if text.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} × {models[0] if models else platform.machine()}, {memory:.0f} GB"


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in _DISTRIBUTIONS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _disk() -> str:
    times = []
    with TemporaryFile(buffering=0) as file:
        for _ in range(21):
            file.write(b"\0" * 8192)
            started = perf_counter()
            os.fsync(file.fileno())
            times.append((perf_counter() - started) * 1000)
    return f"Writing 8 kB and syncing it takes {median(times):.2f} ms here; every commit waits for that."

"""``python -m bench.workloads.iterate CONTENDER course|block`` iterates once. `bench.workloads.iteration` starts it.

It prints seconds, rows, and megabytes of memory at the start and at the peak, as JSON. The process is new, so the peak
belongs to this iteration.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import django

MOST_SECONDS = 30
"""Time limit of an iteration. Paging by OFFSET would need many minutes for a course that others read in seconds."""


def main() -> None:
    django.setup()
    rows = _iterator(*sys.argv[1:])
    before = megabytes("VmRSS")
    started = perf_counter()
    count, seconds = 0, 0.0
    for count, _ in enumerate(rows, 1):  # noqa: B007 - the last number is the result
        seconds = perf_counter() - started
        if seconds > MOST_SECONDS:
            break
    print(json.dumps({"seconds": seconds, "rows": count, "before": before, "peak": megabytes("VmHWM")}))


def megabytes(name: str) -> float:
    """Return a figure of this process's memory from ``/proc``: ``VmRSS`` is the current one, ``VmHWM`` the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _iterator(name: str, scope: str) -> Iterator[Any]:
    from bench.contenders import named  # noqa: PLC0415 - needs Django set up
    from bench.site.data import blocks_of  # noqa: PLC0415 - see above

    contender = named([name])[name]
    return contender.iterate_course(0) if scope == "course" else contender.iterate_block(blocks_of(0)[0])


if __name__ == "__main__":
    main()

"""``python -m bench.iterate WHO COURSE_OR_BLOCK``: iterate once, in a process of its own; `bench.iteration` starts it.

Prints seconds, rows and megabytes of memory, at the beginning and at the peak, as JSON.
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
"""When an iteration is stopped; paging by OFFSET takes many minutes where others take seconds."""


def main() -> None:
    django.setup()
    rows = _iterator(*sys.argv[1:])
    before = megabytes("VmRSS")
    started = perf_counter()
    count, seconds = 0, 0.0
    for count, _ in enumerate(rows, 1):  # noqa: B007 - how many there were is what is wanted
        seconds = perf_counter() - started
        if seconds > MOST_SECONDS:
            break
    print(json.dumps({"seconds": seconds, "rows": count, "before": before, "peak": megabytes("VmHWM")}))


def megabytes(name: str) -> float:
    """Return what Linux counts of this process's memory under a name."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _iterator(who: str, what: str) -> Iterator[Any]:
    from bench.contenders import named  # noqa: PLC0415 - once Django is set up
    from bench.data import blocks_of  # noqa: PLC0415 - see above

    contender = named([who])[who]
    return contender.iterate_course(0) if what == "course" else contender.iterate_block(blocks_of(0)[0])


if __name__ == "__main__":
    main()

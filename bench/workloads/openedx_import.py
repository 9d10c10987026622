"""Import of an old site's rows: beside the fastest SQL with our meaning, and beside the platform's own way.

Each contender runs in a new process, so that its peak of memory is its own. All databases are on one server: the rows
are read from the old tables and written to the new ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.core.management import call_command

from bench.contenders import OURS, RAW, REFERENCE
from bench.contenders.tables import drop_tables
from bench.page.report import Results
from bench.site import filling, machine, scale
from bench.workloads.take_over import WHOLE_ROWS
from demo import old_tables
from demo.old_tables.schema import ALL

BLOCKS = 100
ATTEMPTS = 5
TIMES_LARGER = 4
"""The large site has so many times the learners of the small one. Memory should be the same."""


def measure(_folder: Path) -> Results:
    """Import a small and a large site."""
    learners = scale.chosen().imported
    return {
        "machine": machine.line(),
        "sites": {
            "small": _measure(learners, (OURS, RAW, REFERENCE, WHOLE_ROWS)),
            "large": _measure(learners * TIMES_LARGER, (OURS, RAW)),
        },
    }


def _measure(learners: int, names: tuple[str, ...]) -> dict[str, Any]:
    old_tables.drop("default")
    call_command("flush", interactive=False, verbosity=0)
    old_tables.create("default")
    old_tables.generate("default", learners, BLOCKS, ATTEMPTS)
    if filling.is_server():
        filling.analyze(ALL)
        filling.settle()
    return {name: _imported(name) for name in names}


def _imported(name: str) -> dict[str, float]:
    drop_tables()
    command = [sys.executable, "-m", "bench.workloads.take_over", name]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - runs our own module
    found: dict[str, float] = json.loads(ended.stdout)
    return found

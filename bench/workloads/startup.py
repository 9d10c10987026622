"""Start of a process and its first call: this package, the build before, and Django with XBlock alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bench.page.figures import summary
from bench.page.report import Results
from bench.page.startup import ALONE, BEFORE, NOW
from bench.site import before, machine, scale
from bench.workloads.stage import rotated

ROOT = Path(__file__).parents[2]


def measure(folder: Path) -> Results:
    """Measure processor time, which a busy machine falsifies less than time on the clock."""
    packages = {ALONE: ROOT / "src", BEFORE: before.sources(folder / "before"), NOW: ROOT / "src"}
    samples = defaultdict(list)
    # The first turn is not counted: it compiles the modules.
    for turn in range(-1, scale.chosen().starts):
        for name, path in rotated(packages, turn):
            if path is None:
                continue
            milliseconds = _started(path, folder / "bytecode", "nothing" if name == ALONE else "package")
            if turn >= 0:
                samples[name].append(milliseconds)
    return {"machine": machine.line(), "times": {name: summarized(times) for name, times in samples.items()}}


def summarized(milliseconds: Sequence[float]) -> Results:
    """Return the summary of some starts, and the time of the quickest."""
    return {**summary(milliseconds), "least": min(milliseconds)}


def _started(path: Path, bytecode: Path, what: str) -> float:
    # Some environments forbid Python to write bytecode. Every start would compile the package then, and nothing else.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ended = subprocess.run(  # noqa: S603 - runs our own module
        [sys.executable, "-m", "bench.workloads.start", what],
        cwd=ROOT,
        env={**inherited, "PYTHONPYCACHEPREFIX": str(bytecode), "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(ended.stdout)

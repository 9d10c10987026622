"""The commands that read the whole history, export and check, beside a loop that only reads and decodes.

Then those that move it: to an archive, back, and into packs, once each.

The build before the present work does the same on a database of its own, because it can't read all entries of the
present build. Rates are compared, so that its site may be smaller. Each job runs in a new process, so that its peak of
memory is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import connection

from bench.page.report import Results
from bench.site import before, machine, scale
from bench.site.data import learner
from bench.workloads.maintain import OF_ONE_BLOCK

ROOT = Path(__file__).parents[2]
JOBS = ("export", "check", "raw")
JOBS_BEFORE = ("export", "check")
MOVING = ("archive", "restore", "compact")
"""Jobs that change the site: each goes on from the site that the one before has left."""
TURNS = 3
SMALLER = 10
"""The site of the build before has this part of the learners: its export sends a statement for each state."""


class Site:
    """A database of its own, filled by a build."""

    def __init__(self, packages: Path, name: str, folder: Path, learners: int) -> None:
        path = os.pathsep.join([str(packages), str(ROOT)])
        self.name = name
        self._environment = {**os.environ, "DATABASE_URL": _new_database(name, folder), "PYTHONPATH": path}
        self.run("fill", str(learners))

    def run(self, *job: str) -> dict[str, float]:
        """Run a job of `bench.workloads.maintain`, and return its figures."""
        command = [sys.executable, "-m", "bench.workloads.maintain", *job]
        ended = subprocess.run(  # noqa: S603 - runs our own module
            command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, check=True
        )
        found: dict[str, Any] = json.loads(ended.stdout)
        return found


def measure(folder: Path) -> Results:
    """Fill a site by each build, and run each job some times, in turn."""
    earlier = before.sources(folder / "before")
    learners = scale.chosen().maintained
    now = Site(ROOT / "src", "maintained", folder, learners)
    sites: list[tuple[str, Site, Sequence[str]]] = [("jobs", now, JOBS)]
    if earlier is not None:
        site = Site(earlier, "maintained_before", folder, max(1, learners // SMALLER))
        sites.append(("before", site, JOBS_BEFORE))
    runs: dict[str, dict[str, list[dict[str, float]]]] = {name: {job: [] for job in jobs} for name, _, jobs in sites}
    for _ in range(TURNS):
        for name, site, jobs in sites:
            for job in jobs:
                runs[name][job].append(site.run(job))
    found: Results = {
        name: {job: min(of, key=lambda one: one["seconds"]) for job, of in jobs.items()} for name, jobs in runs.items()
    }
    statements = [now.run("export", username)["statements"] for username in (learner(0).username, OF_ONE_BLOCK)]
    found["jobs"] |= {job: now.run(job, str(folder / now.name)) for job in MOVING}
    return {"machine": machine.line(), **found, "growth": statements[0] / statements[1]}


def _new_database(name: str, folder: Path) -> str:
    """Create an empty database beside that of the process, and return its URL."""
    if connection.vendor == "sqlite":
        path = folder / f"{name}.sqlite3"
        path.unlink(missing_ok=True)
        return f"sqlite:///{path}"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}{' CHARACTER SET utf8mb4' if connection.vendor == 'mysql' else ''}")
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{name}"

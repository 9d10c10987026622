"""Measures, and writes the figures into docs/performance.md.

    python -m bench [--database NAME]... [WORKLOAD]...

Each workload runs on PostgreSQL and MariaDB servers of our own, and on SQLite. With ``--database`` it runs on these
only, and what was measured is printed instead.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import report
from bench.environment import WORKLOADS, load, set_up
from scripts.database_servers import SERVERS, BinariesMissing

DATABASES = ("postgresql", "mariadb", "sqlite")


def main() -> int:
    arguments = _parse_arguments()
    with tempfile.TemporaryDirectory(prefix="xblock-user-state-bench-") as folder, ExitStack() as servers:
        try:
            urls = {name: _start(name, Path(folder), servers) for name in arguments.database or DATABASES}
        except BinariesMissing as missing:
            print(f"Cannot measure: {missing}. With --database you can choose others.", file=sys.stderr)
            return 1
        set_up(Path(folder), f"sqlite:///{folder}/prepared.sqlite3")
        for workload in arguments.workload or WORKLOADS:
            _run(workload, urls, Path(folder), publish=not arguments.database)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures what the documentation states.")
    parser.add_argument("workload", nargs="*", help=f"of {', '.join(WORKLOADS)}; all of them without it")
    parser.add_argument("--database", action="append", choices=DATABASES, help="print the figures of this one only")
    arguments = parser.parse_args()
    if unknown := set(arguments.workload) - set(WORKLOADS):
        parser.error(f"there is no workload {' '.join(unknown)}; there are: {' '.join(WORKLOADS)}")
    return arguments


def _start(database: str, folder: Path, servers: ExitStack) -> str:
    if database in SERVERS:
        return servers.enter_context(SERVERS[database]()).url
    return f"sqlite:///{folder}/measured.sqlite3"


def _run(name: str, urls: dict[str, str], folder: Path, *, publish: bool) -> None:
    workload = load(name)
    print(f"{name}: preparing", flush=True)
    workload.prepare(folder)
    results = {}
    for database, url in urls.items():
        print(f"{name}: measuring on {database}", flush=True)
        measured = _measure([name, str(folder)], url)
        results[measured["database"]] = measured["results"]
    text = workload.section(results)
    if publish:
        report.write(name, text, results)
        print(f"{name}: written into {report.PAGE.relative_to(Path.cwd())}", flush=True)
    else:
        print(text, flush=True)


def _measure(arguments: Sequence[str], url: str) -> report.Results:
    """Measure in a process of its own: Django knows one set of databases in each."""
    command = [sys.executable, "-m", "bench.measure", *arguments]
    environment = {**os.environ, "DATABASE_URL": url}
    ended = subprocess.run(  # noqa: S603 - this interpreter, with a program of ours
        command, env=environment, stdout=subprocess.PIPE, check=True
    )
    measured: report.Results = json.loads(ended.stdout)
    return measured


if __name__ == "__main__":
    sys.exit(main())

"""Measures, and writes the figures into docs/performance.md.

    python -m bench [--quick] [--largest ROWS] [--database NAME]... [WORKLOAD]...

Each workload runs on PostgreSQL and MariaDB servers of our own, with the durability that they have by default, and
where only sizes count on SQLite too. With ``--database`` it runs on these only, and what was measured is printed
instead.
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
from time import monotonic

from bench import report, scale, targets
from bench.environment import DATABASES, SLOW_IN_VAIN, WORKLOADS, load, optional, set_up
from scripts.database_servers import SERVERS, BinariesMissing


def main() -> int:
    arguments = _parse_arguments()
    with tempfile.TemporaryDirectory(prefix="xblock-user-state-bench-") as folder, ExitStack() as servers:
        try:
            urls = {name: _start(name, Path(folder), servers) for name in _databases(arguments)}
        except BinariesMissing as missing:
            print(f"Cannot measure: {missing}. With --database you can choose others.", file=sys.stderr)
            return 1
        set_up(Path(folder), f"sqlite:///{folder}/prepared.sqlite3", "demo.settings")
        for workload in arguments.workload:
            _run(workload, urls, Path(folder), publish=not arguments.database)
        if not arguments.database:
            report.show("targets", targets.section(report.known()))
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures what the documentation states.")
    parser.add_argument("workload", nargs="*", help=f"of {', '.join(WORKLOADS)}; all of them without it")
    parser.add_argument("--database", action="append", choices=DATABASES, help="print the figures of this one only")
    parser.add_argument("--quick", action="store_true", help="few repetitions and small tables")
    parser.add_argument("--largest", metavar="ROWS", help="the rows that the largest table grows to")
    arguments = parser.parse_args()
    if unknown := set(arguments.workload) - set(WORKLOADS):
        parser.error(f"there is no workload {' '.join(unknown)}; there are: {' '.join(WORKLOADS)}")
    if arguments.quick:
        os.environ[scale.QUICK_VARIABLE] = "1"
    if arguments.largest:
        os.environ[scale.LARGEST_VARIABLE] = arguments.largest
    arguments.workload = arguments.workload or _all(quick=arguments.quick)
    return arguments


def _all(*, quick: bool) -> list[str]:
    return [name for name in WORKLOADS if not quick or name not in SLOW_IN_VAIN]


def _databases(arguments: argparse.Namespace) -> list[str]:
    needed = {database for workload in arguments.workload for database in WORKLOADS[workload].databases}
    return [name for name in DATABASES if name in needed and name in (arguments.database or DATABASES)]


def _start(database: str, folder: Path, servers: ExitStack) -> str:
    if database in SERVERS:
        return servers.enter_context(SERVERS[database](durable=True)).url
    return f"sqlite:///{folder}/measured.sqlite3"


def _run(name: str, urls: dict[str, str], folder: Path, *, publish: bool) -> None:
    workload, started = load(name), monotonic()
    print(f"{name}: preparing", flush=True)
    optional(workload, "prepare")(folder)
    results = {}
    for database in WORKLOADS[name].databases:
        if database in urls:
            print(f"{name}: measuring on {database}", flush=True)
            measured = _measure([name, str(folder)], urls[database])
            results[measured["database"]] = measured["results"]
    text = workload.section(results)
    if publish:
        report.write(name, text, results)
        optional(workload, "draw")(results)
    else:
        print(text, flush=True)
    print(f"{name}: done after {monotonic() - started:.0f} s", flush=True)


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

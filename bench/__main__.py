"""Measures, and writes figures and charts into docs/performance.md.

    python -m bench [--quick] [--largest ROWS] [--database NAME]... [WORKLOAD]...
    python -m bench --render

Each workload runs on its own PostgreSQL and MariaDB servers with their default durability; workloads that only compare
sizes run on SQLite too. With ``--database`` the figures of these databases are printed instead of written. ``--render``
measures nothing: it writes page and charts again from docs/performance.json.
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
from typing import Any

from bench.page import report, sections
from bench.site import scale
from bench.site.environment import DATABASES, set_up
from bench.workloads import NOT_QUICK, WORKLOADS, prepare
from scripts.database_servers import SERVERS, BinariesMissing


def main() -> int:
    arguments = _parse_arguments()
    if not arguments.render and not _measure_all(arguments):
        return 1
    if not arguments.database:
        sections.publish()
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measures, and writes the figures into docs/performance.md."
    )
    parser.add_argument("workload", nargs="*", help=f"one of {', '.join(WORKLOADS)}; all if none is given")
    parser.add_argument(
        "--database", action="append", choices=DATABASES, help="measure only this database, and print its figures"
    )
    parser.add_argument("--quick", action="store_true", help="few repetitions and small tables")
    parser.add_argument("--largest", metavar="ROWS", help="size of the largest table in the workload growth")
    parser.add_argument("--render", action="store_true", help="measure nothing; write the page from stored figures")
    arguments = parser.parse_args()
    if unknown := set(arguments.workload) - set(WORKLOADS):
        parser.error(f"unknown workload {' '.join(unknown)}; choose from {' '.join(WORKLOADS)}")
    if arguments.quick:
        os.environ[scale.QUICK_VARIABLE] = "1"
    if arguments.largest:
        os.environ[scale.LARGEST_VARIABLE] = arguments.largest
    arguments.workload = arguments.workload or _all(quick=arguments.quick)
    return arguments


def _all(*, quick: bool) -> list[str]:
    return [name for name in WORKLOADS if not quick or name not in NOT_QUICK]


def _measure_all(arguments: argparse.Namespace) -> bool:
    """Run the workloads. Return ``False`` if a database is not installed."""
    with tempfile.TemporaryDirectory(prefix="xblock-user-state-bench-") as folder, ExitStack() as servers:
        try:
            urls = {name: _start(name, Path(folder), servers) for name in _databases(arguments)}
        except BinariesMissing as missing:
            print(f"Cannot measure: {missing}. Use --database to choose other databases.", file=sys.stderr)
            return False
        set_up(Path(folder), f"sqlite:///{folder}/prepared.sqlite3", "demo.settings")
        for workload in arguments.workload:
            _run(workload, urls, Path(folder), keep=not arguments.database)
    return True


def _databases(arguments: argparse.Namespace) -> list[str]:
    needed = {database for workload in arguments.workload for database in WORKLOADS[workload].databases}
    return [name for name in DATABASES if name in needed and name in (arguments.database or DATABASES)]


def _start(database: str, folder: Path, servers: ExitStack) -> str:
    if database in SERVERS:
        return servers.enter_context(SERVERS[database](durable=True)).url
    return f"sqlite:///{folder}/measured.sqlite3"


def _run(name: str, urls: dict[str, str], folder: Path, *, keep: bool) -> None:
    started = monotonic()
    databases = [database for database in WORKLOADS[name].databases if database in urls]
    if not databases:
        print(f"{name}: runs on {' and '.join(WORKLOADS[name].databases)} only", flush=True)
        return
    print(f"{name}: preparing", flush=True)
    prepare(name, folder)
    results = {}
    for database in databases:
        print(f"{name}: measuring on {database}", flush=True)
        measured = _measure([name, str(folder)], urls[database])
        results[measured["database"]] = measured["results"]
    if keep:
        report.store(name, results)
    else:
        print(sections.text(name, results), flush=True)
    print(f"{name}: done in {monotonic() - started:.0f} s", flush=True)


def _measure(arguments: Sequence[str], url: str) -> dict[str, Any]:
    """Measure in a new process, because Django can be set up only once in each."""
    command = [sys.executable, "-m", "bench.workloads.measure", *arguments]
    environment = {**os.environ, "DATABASE_URL": url}
    ended = subprocess.run(  # noqa: S603 - runs our own module
        command, env=environment, stdout=subprocess.PIPE, check=True
    )
    measured: dict[str, Any] = json.loads(ended.stdout)
    return measured


if __name__ == "__main__":
    sys.exit(main())

"""Repeats the tests of races and of killed processes while all processors are busy, until one fails.

    python -m scripts.under_load [--times NUMBER] [--jobs NUMBER] [--database NAME]...

A race shows when a process is interrupted at a certain place. Processes that only count keep every processor busy, so
that the scheduler interrupts the tests at other places each time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Process

from scripts.run_tests import DATABASES, JOBS

RACES = (
    "tests/acceptance/test_archive_kill.py",
    "tests/acceptance/test_backfill_live.py",
    "tests/acceptance/test_batches.py",
    "tests/acceptance/test_callers_transactions.py",
    "tests/acceptance/test_check_kill.py",
    "tests/acceptance/test_check_live.py",
    "tests/acceptance/test_compact_kill.py",
    "tests/acceptance/test_crowd.py",
    "tests/acceptance/test_deletion.py",
    "tests/acceptance/test_extended_kill.py",
    "tests/acceptance/test_history_server.py",
    "tests/acceptance/test_kill.py",
    "tests/acceptance/test_many_blocks.py",
    "tests/acceptance/test_moving.py",
    "tests/acceptance/test_one_block.py",
    "tests/acceptance/test_readers.py",
    "tests/acceptance/test_relay.py",
    "tests/acceptance/test_remote_crash.py",
    "tests/acceptance/test_remote_kill.py",
    "tests/acceptance/test_repair_kill.py",
    "tests/integration/test_conflicts.py",
    "tests/integration/test_deletion_races.py",
    "tests/integration/test_foreign_locks.py",
    "tests/integration/test_hot_rows.py",
    "tests/integration/test_lost_races.py",
    "tests/integration/test_moving_races.py",
    "tests/integration/test_runtime_concurrency.py",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.under_load")
    parser.add_argument("--times", type=int, default=10, help="repetitions (default: %(default)s)")
    parser.add_argument("--database", action="append", choices=DATABASES, help="a database to test on (default: all)")
    parser.add_argument("--jobs", default=str(JOBS), help="runs on databases at a time (default: %(default)s)")
    arguments = parser.parse_args()
    options = [word for name in arguments.database or () for word in ("--database", name)]
    options += ["--jobs", arguments.jobs]
    with busy_processors():
        for number in range(1, arguments.times + 1):
            print(f"\n=== Repetition {number} of {arguments.times}", flush=True)
            # Their order is another one each time.
            tests = [sys.executable, "-m", "scripts.run_tests", *options, "--", "-q", *RACES]
            status = subprocess.run(tests, check=False).returncode
            if status:
                print(f"Repetition {number} failed.", flush=True)
                return status
    return 0


@contextmanager
def busy_processors() -> Iterator[None]:
    processes = [Process(target=_count, daemon=True) for _ in range(os.cpu_count() or 1)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def _count() -> None:
    number = 0
    while True:
        number += 1


if __name__ == "__main__":
    sys.exit(main())

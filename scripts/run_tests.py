"""Runs the tests: the unit tests once, the integration and acceptance tests on each database.

    python -m scripts.run_tests [--database NAME]... [--postgresql VERSION] [--jobs NUMBER] [-- ARGUMENTS OF PYTEST]

Tests marked ``extended_history`` then run with two databases, on two servers. The script starts servers for PostgreSQL
and MariaDB. With ``DATABASE_URL`` in the environment the tests run on that database only, and with two databases if
``HISTORY_DATABASE_URL`` names the second. ``CITUS_URL`` names a database on the coordinator of a cluster, to test
there. A database that this machine cannot serve is skipped, and named at the end; with ``REQUIRE_DATABASES=1`` that is
a failure. ``ONE_DATABASE=1`` leaves out the runs with two databases.

Two runs go on side by side, each with separate test databases; on a cluster one after the other.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from types import FrameType
from typing import NoReturn

from scripts.database_servers import SERVERS, BinariesMissing
from scripts.postgresql_versions import RELEASES, programs_of
from scripts.side_by_side import Ended, Program, run_side_by_side

DATABASES = ("sqlite", *SERVERS)
DRIVERS = {
    "postgresql": ("psycopg", "the extra postgresql of this project is not installed"),
    "mariadb": ("MySQLdb", "mysqlclient is not installed; the beginning of `make test` says why"),
}
UNIT = ("tests/unit",)
ON_EACH_DATABASE = ("tests/integration", "tests/acceptance")
# Comes before the caller's arguments: the last -m wins.
WITH_TWO_DATABASES = ("-m", "extended_history")
# A constant, because containers often report all processors of the machine.
JOBS = 2
NO_TESTS_COLLECTED = 5

_SUMMARY = re.compile(r"^.* in [\d.]+s\b.*$", re.MULTILINE)
_COLOURS = re.compile(r"\x1b\[[\d;]*m")


class Unavailable(Exception):
    """This machine cannot serve the database; the message names the missing package."""


@dataclass(frozen=True)
class Urls:
    """URLs of the database to test on and of the extended history's database, which is empty if there is none.

    For SQLite without a file name the tests create a file.
    """

    default: str
    history: str


@dataclass(frozen=True)
class Run:
    """One run of pytest, on one database or on two."""

    name: str
    arguments: Sequence[str]
    urls: Urls


@dataclass(frozen=True)
class Outcome:
    """The exit status and the last line of a run of pytest."""

    name: str
    status: int
    summary: str


def main() -> int:
    arguments = _parse_arguments()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _stop_everything)
    if arguments.postgresql:
        try:
            _prefer(arguments.postgresql)
        except BinariesMissing as missing:
            print(missing, flush=True)
            return 1
    with ExitStack() as servers:
        urls, skipped = _start(arguments.database or DATABASES, servers)
        if skipped and os.environ.get("REQUIRE_DATABASES") == "1":
            _report([], skipped)
            print("REQUIRE_DATABASES=1: a database that is not available is a failure.", flush=True)
            return 1
        runs = _plan(urls, arguments.pytest)
        # On a cluster a test kills a worker, which the tests of another run would notice.
        jobs = 1 if os.environ.get("CITUS_URL") else arguments.jobs
        ended = run_side_by_side([_program(run, measured=arguments.coverage) for run in runs], jobs)
    outcomes = [_outcome(*one) for one in zip(runs, ended, strict=True)]
    _report(outcomes, {**skipped, **_without_second(urls)})
    return 0 if _passed(outcomes, chosen=bool(arguments.pytest)) else 1


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.run_tests")
    parser.add_argument("--database", action="append", choices=DATABASES, help="a database to test on (default: all)")
    parser.add_argument("--postgresql", choices=RELEASES, help="this version of PostgreSQL instead of the machine's")
    parser.add_argument("--jobs", type=_number_of_jobs, default=JOBS, help="runs at a time (default: %(default)s)")
    parser.add_argument("--coverage", action="store_true", help="measure coverage, into files that coverage combines")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    return parser.parse_args()


def _prefer(version: str) -> None:
    """Let this process, and the tests, find the programs of this version of PostgreSQL first."""
    os.environ["PATH"] = os.pathsep.join([str(programs_of(version)), os.environ["PATH"]])


def _number_of_jobs(number: str) -> int:
    if int(number) < 1:
        raise ValueError
    return int(number)


def _stop_everything(number: int, _frame: FrameType | None) -> NoReturn:
    """Exit through every ``finally``, and ignore further signals, which would interrupt the stopping of servers."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    print(f"\nStopping: {signal.Signals(number).name}", flush=True)
    sys.exit(128 + number)


def _start(databases: Sequence[str], servers: ExitStack) -> tuple[dict[str, Urls], dict[str, str]]:
    """Start the servers; return the URLs of the databases, and the reason for each database that was skipped."""
    given = os.environ.get("CITUS_URL") or os.environ.get("DATABASE_URL")
    if given:
        return {given.partition(":")[0]: Urls(given, os.environ.get("HISTORY_DATABASE_URL", ""))}, {}
    urls, skipped = {}, {}
    for name in databases:
        try:
            urls[name] = _start_one(name, servers)
        except Unavailable as reason:
            skipped[name] = str(reason)
            print(f"{name} is skipped: {reason}", flush=True)
    return urls, skipped


def _start_one(name: str, servers: ExitStack) -> Urls:
    number = 1 if os.environ.get("ONE_DATABASE") == "1" else 2
    if name not in SERVERS:
        return Urls("", "sqlite://:memory:" if number > 1 else "")
    module, reason = DRIVERS[name]
    if importlib.util.find_spec(module) is None:
        raise Unavailable(reason)
    try:
        started = [servers.enter_context(SERVERS[name]()).url for _ in range(number)]
    except BinariesMissing as missing:
        raise Unavailable(str(missing)) from missing
    return Urls(started[0], started[1] if number > 1 else "")


def _plan(urls: Mapping[str, Urls], arguments: Sequence[str]) -> list[Run]:
    paths = [argument for argument in arguments if argument.startswith("tests/")]
    others = [argument for argument in arguments if argument not in paths]
    unit, on_each_database = _tiers(paths)
    runs = [Run("unit", [*others, *unit], Urls("", ""))] if unit else []
    for name, one in urls.items() if on_each_database else ():
        runs.append(Run(name, [*others, *on_each_database], Urls(one.default, "")))
        if one.history:
            runs.append(Run(_two(name), [*WITH_TWO_DATABASES, *others, *on_each_database], one))
    return runs


def _two(name: str) -> str:
    return f"{name}, two databases"


def _without_second(urls: Mapping[str, Urls]) -> dict[str, str]:
    """Return the runs with two databases that the environment leaves out, with the reason."""
    reason = "HISTORY_DATABASE_URL names no database" if os.environ.get("DATABASE_URL") else "ONE_DATABASE=1"
    return {_two(name): reason for name, one in urls.items() if not one.history}


def _tiers(paths: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the paths of unit tests and of other tests: the paths that the caller named, or else all."""
    if not paths:
        return UNIT, ON_EACH_DATABASE
    unit = [path for path in paths if path.startswith(UNIT)]
    return unit, [path for path in paths if path not in unit]


def _program(run: Run, *, measured: bool) -> Program:
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    coverage = ["-m", "coverage", "run"] if measured else []
    command = [sys.executable, "-X", "dev", *coverage, "-m", "pytest", *colour, *run.arguments]
    urls = {"DATABASE_URL": run.urls.default, "HISTORY_DATABASE_URL": run.urls.history}
    # The development mode shows warnings. It also checks the interpreter's memory, which takes a seventh of the time.
    environment = {"PYTHONMALLOC": "pymalloc", **os.environ, **urls}
    return Program(f"Tests: {run.name}", command, environment)


def _outcome(run: Run, ended: Ended) -> Outcome:
    summaries = _SUMMARY.findall(_COLOURS.sub("", ended.output))
    return Outcome(run.name, ended.status, summaries[-1] if summaries else f"pytest ended with status {ended.status}")


def _passed(outcomes: Sequence[Outcome], *, chosen: bool) -> bool:
    """Tell whether tests ran and none failed. If the caller has `chosen` tests, a run may have none."""
    if not any(outcome.status == 0 for outcome in outcomes):
        return False
    accepted = {0, NO_TESTS_COLLECTED} if chosen else {0}
    return all(outcome.status in accepted for outcome in outcomes)


def _report(outcomes: Sequence[Outcome], skipped: Mapping[str, str]) -> None:
    print(f"\nTests on Python {platform.python_version()}, Django {version('Django')}:")
    for name, reason in skipped.items():
        print(f"{name:<25} not run: {reason}")
    for outcome in outcomes:
        print(f"{outcome.name:<25} {outcome.summary}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

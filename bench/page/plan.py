"""The tables of docs/explanation/growth.md: bytes and hours of large sites, computed from the stored results.

Nothing is estimated: a figure is a measured one, times the entries or divided into them. Where none is stored, the line
has the command that measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from bench.contenders import OURS
from bench.page import history_size, maintenance
from bench.page.figures import MISSING
from bench.page.report import Known, Results, machine_of, table

PROBLEM = "10 inputs, 10 attempts"
SITES = (10**9, 10**10)
DATABASES = ("PostgreSQL", "MariaDB")
COMMANDS = {
    "check": "check_history",
    "export": "export_history",
    "compact": "compact_history",
    "archive": "archive_history --to",
    "restore": "archive_history --restore",
}

_HEADS = ("10⁹ entries", "10¹⁰ entries")


class _Figure(NamedTuple):
    """A measured figure of a workload, ``None`` if it is not stored, and what it makes of a number of entries."""

    database: str
    label: str
    measured: float | None
    workload: str
    of_site: Callable[[int], str]

    def row(self) -> Sequence[str]:
        """Return the line of the table."""
        if not self.measured:
            missing = f'not yet: `make bench BENCH_ARGS="{self.workload}"`'
            return self.database, self.label, missing, *[MISSING] * len(SITES)
        return self.database, self.label, f"{self.measured:,.0f}", *map(self.of_site, SITES)


def section(known: Known) -> str:
    """Return the tables of bytes and of hours."""
    sizes = [figure.row() for name in DATABASES for figure in _sizes(known, name)]
    times = [figure.row() for name in DATABASES for figure in _times(known, name)]
    parts = [machine_of(known["maintenance"])] if "maintenance" in known else []
    parts += ["Bytes, indexes included:", table(("database", "table", "bytes of one, measured", *_HEADS), sizes)]
    parts += ["Hours of one process:", table(("database", "command", "entries a second, measured", *_HEADS), times)]
    return "\n\n".join(parts)


def _sizes(known: Known, name: str) -> Iterator[_Figure]:
    history, jobs = _of(known, "history-size", name).get(PROBLEM, {}), _jobs(known, name)
    for stored_as in ("delta", "packed"):
        one = history_size.bytes_an_entry(history[stored_as]) if stored_as in history else None
        label = f"history, {history_size.STORED_AS[stored_as]}"
        yield _Figure(name, label, one, "history-size", partial(_gigabytes, one))
    archived = jobs.get("archive")
    one = archived["archive"] / archived["entries"] if archived else None
    yield _Figure(name, "archive, in files", one, "maintenance", partial(_gigabytes, one))
    weights = [*_of(known, "storage", name).get("weights", {}).get(OURS, {}).get("state", {}).values()]
    states = jobs["check"]["rows"] / jobs["check"]["entries"] if jobs else 0.0
    for label, some in (("state rows", weights), ("the indexes of these", weights[1:])):
        yield _Figure(name, label, sum(some), "storage", partial(_gigabytes, sum(some) * states))


def _times(known: Known, name: str) -> Iterator[_Figure]:
    jobs, sites = _jobs(known, name), _of(known, "openedx-import", name).get("sites", {})
    imported = sites.get("large", {}).get(OURS)
    rate = imported["rows"] / imported["seconds"] if imported else None
    yield _Figure(name, "`import_openedx`", rate, "openedx-import", partial(_hours, rate))
    for job, command in COMMANDS.items():
        rate = maintenance.rate(jobs[job]) if job in jobs else None
        yield _Figure(name, f"`{command}`", rate, "maintenance", partial(_hours, rate))


def _jobs(known: Known, name: str) -> Results:
    found: Results = _of(known, "maintenance", name).get("jobs", {})
    return found


def _of(known: Known, workload: str, name: str) -> Results:
    found: Mapping[str, Results] = known.get(workload, {})
    return next((of for database, of in found.items() if database.startswith(name)), {})


def _gigabytes(each: float | None, entries: int) -> str:
    return f"{(each or 0.0) * entries / 1e9:,.0f} GB"


def _hours(rate: float | None, entries: int) -> str:
    return f"{entries / rate / 3600:,.0f}" if rate else MISSING

"""Targets: bounds that were set before the work, the measured values, and the verdicts.

`TARGETS` are the first ones, which the page ends with; `PRESENT` are those of the present work, with which it opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from bench.contenders import OURS, OURS_WARM, PGHISTORY, RAW, REFERENCE, SIMPLE_HISTORY
from bench.page import (
    console,
    figures,
    history_size,
    iteration,
    maintenance,
    openedx_import,
    page,
    remote,
    report,
    startup,
)
from bench.page.report import Known, Results

POSTGRESQL, MARIADB = "PostgreSQL", "MariaDB"
BOTH = (POSTGRESQL, MARIADB)

LARGE_COURSE = "500000"
SMALL_TABLE, LARGE_TABLE = "10000", "1000000"

Find = Callable[[Results], float]
"""Takes a value from the results of a workload on one database; raises ``KeyError`` if it was not measured."""


class Target(NamedTuple):
    """A bound for one figure of a workload on one database, an upper bound unless `is_least` is set."""

    workload: str
    database: str
    figure: str
    bound: float
    find: Find
    is_least: bool = False
    form: str = "{:.2f}"

    def is_met(self, measured: float) -> bool:
        """Tell whether the value reaches the target; the bound itself does."""
        return measured >= self.bound if self.is_least else measured <= self.bound

    def share(self, measured: float) -> float:
        """Return the part of the target that is reached: at least 1 if it is met."""
        parts = (measured, self.bound) if self.is_least else (self.bound, measured)
        return parts[0] / max(parts[1], _SMALLEST)

    def written(self) -> str:
        """Return the bound as text."""
        return f"{'at least' if self.is_least else 'at most'} {self.form.format(self.bound).removesuffix('.00')}"


_SMALLEST = 0.001


class Verdict(NamedTuple):
    """A target and its measured value, both ``None`` without one. `database` has the version of the measured server."""

    target: Target
    database: str
    measured: float | None
    is_met: bool | None


def section(known: Known) -> str:
    """Return the table."""
    kind = report.kind_of_runs({name: of for name, of in known.items() if name in WORKLOADS})
    heads = ("database", "figure", "target", "measured", "met")
    return f"{kind}\n\n{report.table(heads, map(_row, verdicts(known)))}"


def verdicts(known: Known, targets: Iterable[Target] | None = None) -> list[Verdict]:
    """Return a verdict for each target; by default for the first targets of the project."""
    return [_verdict(target, known) for target in (TARGETS if targets is None else targets)]


def _verdict(target: Target, known: Known) -> Verdict:
    for database, of in known.get(target.workload, {}).items():
        if database.startswith(target.database):
            try:
                measured = target.find(of)
            except KeyError:
                break
            return Verdict(target, database, measured, target.is_met(measured))
    return Verdict(target, target.database, None, None)


def _row(verdict: Verdict) -> Sequence[str]:
    target, database, measured, is_met = verdict
    if measured is None:
        return database, target.figure, target.written(), figures.MISSING, "not measured"
    return database, target.figure, target.written(), target.form.format(measured), "yes" if is_met else "**no**"


def _single_calls() -> Iterator[Target]:
    update, read = "set_many, update", "get_many"
    bounds = ((1, 2.5, 2, 2), (10, 1.8, 14, 1.6), (100, 1.5, 30, 1.4), (1000, 1.5, 35, 1.3))
    for size, to_raw, _, _ in bounds:
        yield _at_most(update, size, to_raw)
    for size, _, to_reference, _ in bounds:
        yield _at_least(POSTGRESQL, size, to_reference)
    for size, _, _, to_raw in bounds:
        yield _at_most(read, size, to_raw)
    for size, to_reference in ((10, 8), (100, 20)):
        yield _at_least(MARIADB, size, to_reference)


def _at_most(operation: str, size: int, bound: float) -> Target:
    figure = _named(operation, size, OURS, RAW)
    return Target("calls", POSTGRESQL, figure, bound, _times(operation, size, OURS, RAW))


def _at_least(database: str, size: int, bound: float) -> Target:
    operation = "set_many, update"
    figure, find = _named(operation, size, REFERENCE, OURS), _times(operation, size, REFERENCE, OURS)
    return Target("calls", database, figure, bound, find, is_least=True)


def _named(operation: str, size: int, one: str, other: str) -> str:
    return f"{operation}, {size:,} block{'s' if size > 1 else ''}: {one} ÷ {other}"


def _times(operation: str, size: int, one: str, other: str) -> Find:
    def find(results: Results) -> float:
        times = results["times"][operation][str(size)]
        return float(times[one]["median"] / times[other]["median"])

    return find


def _round_trips() -> Iterator[Target]:
    writes = ("set_many, new", "set_many, update")
    for database, cold, warm in ((POSTGRESQL, 3, 1), (MARIADB, 5, 5)):
        for operations, name, most in ((writes, OURS, cold), (writes[1:], OURS_WARM, warm), (("get_many",), OURS, 1)):
            figure = f"round trips of {operations[0].partition(',')[0]}: {name}"
            yield Target("calls", database, figure, most, _most_trips(operations, name), form="{:.0f}")


def _most_trips(operations: Sequence[str], name: str) -> Find:
    return lambda results: max(
        by_name[name] for operation in operations for by_name in results["round_trips"][operation].values()
    )


def _distance() -> Iterator[Target]:
    for database in BOTH:
        for name in (OURS, OURS_WARM):
            figure = f"set_many, update, 10 blocks, 2 ms away: reference ÷ {name}"
            yield Target("latency", database, figure, 25, _at_two_milliseconds(name), is_least=True)


def _at_two_milliseconds(name: str) -> Find:
    def find(results: Results) -> float:
        times = results["delays"]["2.0"]["times"]["set_many, update"]
        return float(times[REFERENCE]["median"] / times[name]["median"])

    return find


def _processes() -> Iterator[Target]:
    for database in BOTH:
        own = "set_many of 10 blocks, 8 processes: blocks a second, ÷ the reference's best"
        yield Target("processes", database, own, 10, _own_rate, is_least=True)
        yield Target("processes", database, "the hot row, 8 writers: lost writes", 0, _lost, form="{:.0f}")
        hot = "the hot row, 8 writers: writes a second, ÷ the reference's"
        yield Target("processes", database, hot, 1, _hot_rate, is_least=True)


def _own_rate(results: Results) -> float:
    own = results["own"]
    return float(own["8"][OURS]["rate"] / max(by_name[REFERENCE]["rate"] for by_name in own.values()))


def _lost(results: Results) -> float:
    """Count the values that were reset and the entries that are missing; the row starts with one entry."""
    ours = results["hot"][OURS]
    return float(ours["reset"] + abs(ours["writes"] + 1 - ours["entries"]))


def _hot_rate(results: Results) -> float:
    return float(results["hot"][OURS]["rate"] / results["hot"][REFERENCE]["rate"])


def _iteration() -> Iterator[Target]:
    course = "a course of 500,000 rows"
    for database in BOTH:
        yield Target("iteration", database, f"{course}: time ÷ the raw cursor's", 1.8, _iteration_time)
        yield Target("iteration", database, f"{course}: MB of the process", 90, _iteration_memory, form="{:.0f}")


def _iteration_time(results: Results) -> float:
    ours, raw = (results["courses"][LARGE_COURSE]["course"][name] for name in (OURS, RAW))
    return float(iteration.seconds_a_row(ours) / iteration.seconds_a_row(raw))


def _iteration_memory(results: Results) -> float:
    return float(results["courses"][LARGE_COURSE]["course"][OURS]["peak"])


def _bytes() -> Iterator[Target]:
    for database in BOTH:
        yield Target("storage", database, "bytes of a row in indexes", 80, _bytes_of_indexes, form="{:.0f}")
        yield Target("storage", database, "bytes of a row beyond its text", 170, _bytes_beyond, form="{:.0f}")
    yield Target("storage", POSTGRESQL, "updates in place (heap-only)", 0.9, _in_place, is_least=True, form="{:.1%}")


def _bytes_of_indexes(results: Results) -> float:
    _, *indexes = results["weights"][OURS]["state"].values()
    return float(sum(indexes))


def _bytes_beyond(results: Results) -> float:
    ours = results["weights"][OURS]
    return float(sum(ours["state"].values()) - ours["text"])


def _in_place(results: Results) -> float:
    return float(results["updates"][OURS]["in_place"])


def _growth() -> Iterator[Target]:
    for database in BOTH:
        yield Target("growth", database, "set_many, update, 10 blocks: at 1,000,000 rows ÷ at 10,000", 1.3, _grown)


def _grown(results: Results) -> float:
    small, large = (results["times"][size]["set_many, update"][OURS]["median"] for size in (SMALL_TABLE, LARGE_TABLE))
    return float(large / small)


def _metrics() -> Iterator[Target]:
    for database in BOTH:
        yield Target("metrics", database, "disabled metrics: share of a call of 1 block", 0.01, _share, form="{:.2%}")


def _share(results: Results) -> float:
    calls = (call for by_operation in results["calls"].values() for call in by_operation.values())
    return max(figures.share(results["look"], call) for call in calls)


def _import() -> Iterator[Target]:
    for database in BOTH:
        rate = "history rows a second of an import, one process"
        yield Target("openedx-import", database, rate, 10_000, _import_rate, is_least=True, form="{:,.0f}")
        faster = "an import: rate ÷ the reference's"
        yield Target("openedx-import", database, faster, 20, _import_ratio, is_least=True, form="{:.0f}")
        memory = "an import: peak memory of four times the rows ÷ of the rows"
        yield Target("openedx-import", database, memory, 1.1, _import_memory)


def _import_rate(results: Results) -> float:
    return openedx_import.rate(results["sites"]["large"][OURS])


def _import_ratio(results: Results) -> float:
    small = results["sites"]["small"]
    return openedx_import.rate(small[OURS]) / openedx_import.rate(small[REFERENCE])


def _import_memory(results: Results) -> float:
    small, large = (results["sites"][site][OURS]["peak"] for site in ("small", "large"))
    return float(large / small)


TARGETS = (
    *_single_calls(),
    *_round_trips(),
    *_distance(),
    *_processes(),
    *_iteration(),
    *_bytes(),
    *_growth(),
    *_metrics(),
    *_import(),
)
WORKLOADS = {target.workload for target in TARGETS}


def _present(database: str) -> Iterator[Target]:
    yield from _present_histories(database)
    yield from _present_calls(database)
    eight = "set_many of 10 blocks, 8 processes: blocks a second, ÷ the reference's best"
    yield Target("processes", database, eight, 14, _own_rate, is_least=True)
    for problem, bound in (("10 inputs, 10 attempts", 20), ("5 inputs, 50 attempts", 40)):
        figure = f"history, {problem}: full copies ÷ ours after packing"
        yield Target("history-size", database, figure, bound, _packed(problem), is_least=True, form="{:.1f}")
    yield from _present_maintenance(database)
    yield from _present_pages(database)
    yield Target("console", database, "the console's slowest page, milliseconds", 300, console.slowest, form="{:.0f}")
    figure = "start and first call, beyond Django and XBlock: ours ÷ the build before"
    yield Target("startup", database, figure, 0.7, _started)


def _present_histories(database: str) -> Iterator[Target]:
    for size, to_raw in ((1, 3), (100, 2.2)):
        of = f"get_history, {size} entr{'ies' if size > 1 else 'y'}"
        yield Target("calls", database, f"{of}: ours ÷ raw", to_raw, _history(size, RAW))
        yield Target("calls", database, f"{of}: ours ÷ the fastest peer", 1, _history(size, *PEERS))


def _present_calls(database: str) -> Iterator[Target]:
    to_raw = {
        "set_many, update": {1: 1.5, 10: 1.7, 100: 1.8, 1000: 1.8},
        "set_many, new": {1: 1.8, 10: 1.8},
        "get_many": dict.fromkeys((1, 10, 100), 1.4),
        "delete_many": dict.fromkeys((1, 10, 100, 1000), 2.0),
    }
    for operation, bounds in to_raw.items():
        for size, bound in bounds.items():
            figure = _named(operation, size, OURS, RAW)
            yield Target("calls", database, figure, bound, _times(operation, size, OURS, RAW))
    for size in (1, 10):
        figure = _named("set_many, new", size, OURS, "the fastest peer")
        yield Target("calls", database, figure, 1, _to_peers("set_many, new", size))
    for size, bound in ((1, 3), (10, 12), (100, 35), (1000, 45)):
        figure, find = _named(UPDATE, size, REFERENCE, OURS), _times(UPDATE, size, REFERENCE, OURS)
        yield Target("calls", database, figure, bound, find, is_least=True)


def _present_maintenance(database: str) -> Iterator[Target]:
    for job, unit, bound in (("export", "entries", 15), ("check", "rows", 4)):
        figure = f"{job}_history, {unit} a second: ours ÷ the build before"
        yield Target("maintenance", database, figure, bound, _to_before(job), is_least=True, form="{:.1f}")
    figure = "export_history: statements for a learner with 100 blocks ÷ with one"
    yield Target("maintenance", database, figure, 1, lambda results: float(results["growth"]))


def _present_pages(database: str) -> Iterator[Target]:
    for request, bound in ((page.RELOAD, 5), (page.SUBMIT, 8)):
        for part, compared in (("", page.whole), (", state alone", page.state_alone)):
            figure = f"{request} of a page{part}, 0.5 ms away: reference ÷ ours"
            yield Target("page", database, figure, bound, _at_half_a_millisecond(request, compared), is_least=True)
    yield Target("page", database, "a process that serves pages of new learners: MB after ÷ before", 1.01, _memory)


def _present_service() -> Iterator[Target]:
    for operation in (UPDATE, "get_many"):
        figure = f"{operation}, 10 blocks, over HTTP: remote ÷ ours"
        yield Target("remote", POSTGRESQL, figure, 2.5, partial(remote.to_ours, operation=operation))
    for operation in (UPDATE, "get_many"):
        figure = f"{operation}, 10 blocks: reference, 0.5 ms away ÷ remote, 2 ms away"
        yield Target("remote", POSTGRESQL, figure, 1, partial(remote.to_reference, operation=operation), is_least=True)
    rate = "the service, 8 clients, 2 workers: requests of get_many(1) a second"
    yield Target("remote", POSTGRESQL, rate, 1500, lambda of: float(of["load"]["rate"]), is_least=True, form="{:,.0f}")
    memory = "the service, a stream of 500,000 states: MB at the end ÷ at the start"
    yield Target("remote", POSTGRESQL, memory, 1.01, lambda of: remote.growth(of["stream"][LARGE_COURSE]))


def _history(size: int, *others: str) -> Find:
    def find(results: Results) -> float:
        return _to_fastest(results["history"][str(size)], others)

    return find


def _to_peers(operation: str, size: int) -> Find:
    return lambda results: _to_fastest(results["times"][operation][str(size)], PEERS)


def _to_fastest(times: Results, others: Sequence[str]) -> float:
    """Return our time, divided by the least of the others'. Raises ``KeyError`` if there is none of them."""
    medians = [times[name]["median"] for name in others if name in times]
    if not medians:
        raise KeyError(*others)
    return float(times[OURS]["median"] / min(medians))


def _packed(problem: str) -> Find:
    def find(results: Results) -> float:
        of = results[problem]
        return history_size.total(of["plain"]) / history_size.total(of["packed"])

    return find


def _to_before(job: str) -> Find:
    return lambda results: maintenance.rate(results["jobs"][job]) / maintenance.rate(results["before"][job])


def _at_half_a_millisecond(request: str, compared: Callable[[Results], float]) -> Find:
    return lambda results: compared(results["delays"]["0.5"]["times"][request])


def _memory(results: Results) -> float:
    return float(results["memory"]["after"] / results["memory"]["before"])


def _started(results: Results) -> float:
    times = results["times"]
    return startup.beyond(times, startup.NOW) / startup.beyond(times, startup.BEFORE)


UPDATE = "set_many, update"
PEERS = (SIMPLE_HISTORY, PGHISTORY)
PRESENT = (*(target for database in BOTH for target in _present(database)), *_present_service())

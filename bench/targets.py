"""What we aim at, what was measured, and whether that is reached: the first table of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench import machine, metrics
from bench.contenders import OURS, OURS_WARM, RAW, REFERENCE
from bench.report import Results, table

POSTGRESQL, MARIADB = "PostgreSQL", "MariaDB"
BOTH = (POSTGRESQL, MARIADB)

LARGE_COURSE = "500000"
SMALL_TABLE, LARGE_TABLE = "10000", "1000000"


class Target(NamedTuple):
    """A bound, and how to find what it is held against in the results of a workload on one database.

    `find` raises ``KeyError`` where it was not measured.
    """

    workload: str
    database: str
    what: str
    bound: float
    find: Callable[[Results], float]
    is_least: bool = False
    form: str = "{:.2f}"

    def is_met(self, measured: float) -> bool:
        """Tell whether a value reaches the target."""
        return measured >= self.bound if self.is_least else measured <= self.bound

    def written(self) -> str:
        """Return the target as a text."""
        return f"{'at least' if self.is_least else 'at most'} {self.form.format(self.bound).removesuffix('.00')}"


def section(known: Mapping[str, Mapping[str, Results]]) -> str:
    """Return the table, from the results of all workloads by their names and databases."""
    heads = ("database", "what", "target", "measured", "met")
    return f"{_kind(known)}\n\n{table(heads, [_row(known, target) for target in TARGETS])}"


def _kind(known: Mapping[str, Mapping[str, Results]]) -> str:
    """Return a sentence that tells which results are worth something."""
    quick = {
        name
        for name in {target.workload for target in TARGETS} & known.keys()
        if any(machine.is_of_quick_run(of["machine"]) for of in known[name].values())
    }
    if not quick:
        return "All figures are of full runs."
    return (
        f"The figures of {', '.join(sorted(quick))} are of a **quick run**, whose repetitions are too few to hold them"
        " against anything, and which leaves out the largest tables."
    )


def _row(known: Mapping[str, Mapping[str, Results]], target: Target) -> Sequence[str]:
    for database, of in known.get(target.workload, {}).items():
        if database.startswith(target.database):
            try:
                measured = target.find(of)
            except KeyError:
                break
            met = "yes" if target.is_met(measured) else "**no**"
            return database, target.what, target.written(), target.form.format(measured), met
    return target.database, target.what, target.written(), "–", "not measured"


def _times(operation: str, size: int, one: str, other: str) -> Callable[[Results], float]:
    """Return what finds the ratio of two contenders' single calls."""

    def find(results: Results) -> float:
        times = results["times"][operation][str(size)]
        return float(times[one]["median"] / times[other]["median"])

    return find


def _single_calls() -> Iterator[Target]:
    update, read = "set_many, update", "get_many"
    bounds = ((1, 2.5, 2, 2), (10, 1.8, 14, 1.6), (100, 1.5, 30, 1.4), (1000, 1.5, 35, 1.3))
    for size, to_raw, _, _ in bounds:
        yield Target("calls", POSTGRESQL, _named(update, size, OURS, RAW), to_raw, _times(update, size, OURS, RAW))
    for size, _, to_reference, _ in bounds:
        what, find = _named(update, size, REFERENCE, OURS), _times(update, size, REFERENCE, OURS)
        yield Target("calls", POSTGRESQL, what, to_reference, find, is_least=True)
    for size, _, _, to_raw in bounds:
        yield Target("calls", POSTGRESQL, _named(read, size, OURS, RAW), to_raw, _times(read, size, OURS, RAW))
    for size, least in ((10, 8), (100, 20)):
        what, find = _named(update, size, REFERENCE, OURS), _times(update, size, REFERENCE, OURS)
        yield Target("calls", MARIADB, what, least, find, is_least=True)


def _named(operation: str, size: int, one: str, other: str) -> str:
    return f"{operation}, {size:,} block{'s' if size > 1 else ''}: {one} ÷ {other}"


def _round_trips() -> Iterator[Target]:
    writes = ("set_many, new", "set_many, update")
    for database, cold, warm in ((POSTGRESQL, 3, 1), (MARIADB, 5, 5)):
        for operations, who, most in ((writes, OURS, cold), (writes[1:], OURS_WARM, warm), (("get_many",), OURS, 1)):
            what = f"round trips of {operations[0].partition(',')[0]}: {who}"
            yield Target("calls", database, what, most, _most_trips(operations, who), form="{:.0f}")


def _most_trips(operations: Sequence[str], who: str) -> Callable[[Results], float]:
    return lambda results: max(
        by_name[who] for operation in operations for by_name in results["round_trips"][operation].values()
    )


def _distance() -> Iterator[Target]:
    for database in BOTH:
        for who in (OURS, OURS_WARM):
            what = f"set_many, update, 10 blocks, 2 ms away: reference ÷ {who}"
            yield Target("latency", database, what, 25, _at_two(who), is_least=True)


def _at_two(who: str) -> Callable[[Results], float]:
    def find(results: Results) -> float:
        times = results["delays"]["2.0"]["times"]["set_many, update"]
        return float(times[REFERENCE]["median"] / times[who]["median"])

    return find


def _processes() -> Iterator[Target]:
    for database in BOTH:
        own = "set_many of 10 blocks, 8 processes: blocks a second, ÷ the reference's best"
        yield Target("processes", database, own, 10, _own_rate, is_least=True)
        yield Target("processes", database, "the hot row, 8 writers: writes lost", 0, _lost, form="{:.0f}")
        hot = "the hot row, 8 writers: writes a second, ÷ the reference's"
        yield Target("processes", database, hot, 1, _hot_rate, is_least=True)


def _own_rate(results: Results) -> float:
    own = results["own"]
    return float(own["8"][OURS]["rate"] / max(by_name[REFERENCE]["rate"] for by_name in own.values()))


def _lost(results: Results) -> float:
    ours = results["hot"][OURS]
    return float(ours["reset"] + abs(ours["writes"] + 1 - ours["entries"]))


def _hot_rate(results: Results) -> float:
    return float(results["hot"][OURS]["rate"] / results["hot"][REFERENCE]["rate"])


def _iteration() -> Iterator[Target]:
    for database in BOTH:
        yield Target("iteration", database, "a course of 500,000 rows: time ÷ the raw cursor's", 1.8, _iteration_time)
        yield Target(
            "iteration", database, "a course of 500,000 rows: MB of the process", 90, _iteration_memory, form="{:.0f}"
        )


def _iteration_time(results: Results) -> float:
    ours, raw = (results["courses"][LARGE_COURSE]["course"][name] for name in (OURS, RAW))
    return float(ours["seconds"] / ours["rows"] / (raw["seconds"] / raw["rows"]))


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


def _share(results: Mapping[str, Any]) -> float:
    look = results["look"]
    calls = (call for by_operation in results["calls"].values() for call in by_operation.values())
    return max(metrics.share(look, call) for call in calls)


TARGETS = (
    *_single_calls(),
    *_round_trips(),
    *_distance(),
    *_processes(),
    *_iteration(),
    *_bytes(),
    *_growth(),
    *_metrics(),
)

"""The lead section: figures that help to choose, taken from the results of several workloads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.contenders import OURS, PGHISTORY, REFERENCE, SIMPLE_HISTORY
from bench.page import charts, figures, report
from bench.page.history_size import bytes_an_entry
from bench.page.iteration import seconds_a_row
from bench.page.report import Known, Results
from bench.page.storage import bytes_of_entry

OTHERS = (REFERENCE, SIMPLE_HISTORY, PGHISTORY)
NAMES = (OURS, *OTHERS)
PRODUCTS = ("PostgreSQL", "MariaDB")
SIZES = ("1", "10", "100")
UPDATE = "set_many, update"
CALLS = ("set_many, new", "set_many, update", "get_many")
PROBLEMS = ("10 inputs, 10 attempts", "5 inputs, 50 attempts")
LARGE_COURSE = "500000"
TIMES, SIZES_AND_TRIPS = "at-a-glance-times", "at-a-glance-sizes"
RATIOS_ARE = (
    f"The median time of a call, divided by that of *{OURS}*: above 1, *{OURS}* is faster.\n"
    "`get_history` reads the entries of one block."
)

Find = Callable[[Results, str], float]
"""Takes a contender's value from the results; raises ``KeyError`` if it was not measured."""

Form = Callable[[float], str]
Values = list[float | None]


class Cost(NamedTuple):
    """A figure of a workload."""

    workload: str
    figure: str
    find: Find
    form: Form


def section(known: Known) -> str:
    """Return charts and tables. A dash stands for a figure that was not measured."""
    costs = [row for product in PRODUCTS for row in _cost_rows(known, product)]
    return "\n\n".join(
        [
            report.kind_of_runs(known),
            charts.image(TIMES, "milliseconds of updates and reads by contender and number of blocks"),
            RATIOS_ARE,
            *(_ratio_table(*_measured(known, "calls", product)) for product in PRODUCTS),
            charts.image(SIZES_AND_TRIPS, "round trips of an update and bytes of a history entry by contender"),
            "Round trips, bytes of history, hot rows and iteration. A dash means that the contender was not measured.",
            report.table(("database", "figure", *NAMES), costs),
        ]
    )


def draw(known: Known) -> None:
    """Draw the charts of the section."""
    calls = [_measured(known, "calls", product) for product in PRODUCTS]
    times = [_time_bars(*measured, operation) for measured in calls for operation in charts.CALLS]
    charts.draw_bars(TIMES, times)
    charts.draw_bars(SIZES_AND_TRIPS, [_trip_bars(*calls[0]), _history_bars(known)])


def _measured(known: Known, workload: str, product: str) -> tuple[str, Results]:
    """Return the name with version, and the results; workloads may have run on different versions."""
    found = (pair for pair in known.get(workload, {}).items() if pair[0].startswith(product))
    return next(found, (product, {}))


def _ratio_table(database: str, of: Results) -> str:
    heads = ("call", "contender", "1 block or entry", "10 blocks", "100 blocks or entries")
    return f"**{database}**\n\n{report.table(heads, _ratio_rows(of))}"


def _ratio_rows(of: Results) -> Iterator[Sequence[str]]:
    calls = {operation: of.get("times", {}).get(operation, {}) for operation in CALLS}
    for operation, by_size in {**calls, "get_history": of.get("history", {})}.items():
        for name in OTHERS:
            ratios = _ratios(by_size, name)
            if {*ratios} != {figures.MISSING}:
                yield operation, name, *ratios


def _ratios(by_size: Mapping[str, Results], name: str) -> list[str]:
    return [figures.ratio(*pair) for pair in zip(_medians(by_size, name), _medians(by_size, OURS), strict=True)]


def _medians(by_size: Mapping[str, Results], name: str) -> Values:
    return [by_size.get(size, {}).get(name, {}).get("median") for size in SIZES]


def _cost_rows(known: Known, product: str) -> Iterator[Sequence[str]]:
    for workload, figure, find, form in COSTS:
        database, of = _measured(known, workload, product)
        yield database, figure, *(_written(_found(of, find, name), form) for name in NAMES)


def _time_bars(database: str, of: Results, operation: str) -> charts.Bars:
    values = {name: _medians(of.get("times", {}).get(operation, {}), name) for name in NAMES}
    return charts.Bars(f"{operation}: {database}", "milliseconds", BLOCKS, _with_any(values), figures.milliseconds)


def _trip_bars(database: str, of: Results) -> charts.Bars:
    values = {name: _values(of, TRIPS, name) for name in NAMES}
    return charts.Bars(f"Round trips of an update: {database}", "round trips", BLOCKS, _with_any(values), WHOLE)


def _history_bars(known: Known) -> charts.Bars:
    results = {product: _measured(known, "history-size", product)[1] for product in PRODUCTS}
    finds = [_entry_bytes(problem) for problem in PROBLEMS]
    values = {name: [value for of in results.values() for value in _values(of, finds, name)] for name in NAMES}
    # Three lines, so that neighbouring labels do not overlap.
    groups = ["\n".join([product, *problem.split(", ")]) for product in PRODUCTS for problem in PROBLEMS]
    return charts.Bars("Bytes of a history entry", "bytes", groups, _with_any(values), WHOLE)


def _values(of: Results, finds: Iterable[Find], name: str) -> Values:
    return [_found(of, find, name) for find in finds]


def _found(of: Results, find: Find, name: str) -> float | None:
    try:
        return find(of, name)
    except KeyError:
        return None


def _with_any(values: Mapping[str, Values]) -> dict[str, Values]:
    """Return the contenders that have a value."""
    return {name: of for name, of in values.items() if any(value is not None for value in of)}


def _written(value: float | None, form: Form) -> str:
    return figures.MISSING if value is None else form(value)


def _trips(size: str) -> Find:
    return lambda of, name: float(of["round_trips"][UPDATE][size][name])


def _entry_bytes(problem: str) -> Find:
    stored_as = {OURS: "delta", REFERENCE: "old"}
    return lambda of, name: bytes_an_entry(of[problem][stored_as[name]])


def _hot(key: str) -> Find:
    return lambda of, name: float(of["hot"][name][key])


def _course(of: Results, name: str) -> Mapping[str, float]:
    found: Mapping[str, float] = of["courses"][LARGE_COURSE]["course"][name]
    return found


def _microseconds_a_row(of: Results, name: str) -> float:
    return 1e6 * seconds_a_row(_course(of, name))


def _peak(of: Results, name: str) -> float:
    return _course(of, name)["peak"]


WHOLE: Form = "{:,.0f}".format
BLOCKS = [f"{size} block{'s' if size != '1' else ''}" for size in SIZES]
TRIPS = [_trips(size) for size in SIZES]
COSTS = (
    *(Cost("calls", f"round trips, update of {size}", trips, WHOLE) for size, trips in zip(BLOCKS, TRIPS, strict=True)),
    Cost("storage", "history entry as a full copy: bytes", bytes_of_entry, WHOLE),
    *(Cost("history-size", f"history entry, {problem}: bytes", _entry_bytes(problem), WHOLE) for problem in PROBLEMS),
    Cost("processes", "hot row, 8 writers: writes a second", _hot("rate"), WHOLE),
    Cost("processes", "hot row, 8 writers: values reset", _hot("reset"), WHOLE),
    Cost("iteration", "iteration over 500,000 rows: µs a row", _microseconds_a_row, "{:.1f}".format),
    Cost("iteration", "iteration over 500,000 rows: peak MB", _peak, WHOLE),
)

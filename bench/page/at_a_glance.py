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
PROBLEMS = ("10 inputs, 10 attempts", "5 inputs, 50 attempts")
LARGE_COURSE = "500000"
TIMES, SIZES_AND_TRIPS = "at-a-glance-times", "at-a-glance-sizes"
RATIOS_ARE = (
    "Median times of calls with 1 / 10 / 100 blocks, and of `get_history` with 1 / 100 entries.\n"
    f"A ratio above 1 means that *{OURS}* is faster."
)

Find = Callable[[Results, str], float]
"""Takes a contender's value from the results; raises ``KeyError`` if it was not measured."""

Form = Callable[[float], str]
Values = list[float | None]


class Cost(NamedTuple):
    """A figure of a workload, with one value or several of them."""

    workload: str
    figure: str
    form: Form
    finds: Sequence[Find]


def section(known: Known) -> str:
    """Return two charts and two tables. A dash stands for a figure that was not measured."""
    heads = ("database", "call", f"{OURS}, ms", *(f"{name} ÷ {OURS}" for name in OTHERS))
    ratios = [row for product in PRODUCTS for row in _ratio_rows(*_measured(known, "calls", product))]
    costs = [row for product in PRODUCTS for row in _cost_rows(known, product)]
    return "\n\n".join(
        [
            report.kind_of_runs(known),
            charts.image(TIMES, "milliseconds of updates and reads by contender and number of blocks"),
            RATIOS_ARE,
            report.table(heads, ratios),
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


def _ratio_rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    calls = {**of.get("times", {}), "get_history": of.get("history", {})}
    for operation, by_size in calls.items():
        ours, *others = (_medians(by_size, name) for name in NAMES)
        ratios = ([figures.ratio(*pair) for pair in zip(medians, ours, strict=True)] for medians in others)
        yield database, operation, _joined(map(figures.milliseconds, ours)), *map(_joined, ratios)


def _medians(by_size: Mapping[str, Results], name: str) -> Values:
    return [by_size[size].get(name, {}).get("median") for size in SIZES if size in by_size]


def _cost_rows(known: Known, product: str) -> Iterator[Sequence[str]]:
    for workload, figure, form, finds in COSTS:
        database, of = _measured(known, workload, product)
        values = (_values(of, finds, name) for name in NAMES)
        yield database, figure, *(_joined(_written(value, form) for value in found) for found in values)


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


def _joined(cells: Iterable[str]) -> str:
    found = [*cells]
    return " / ".join(found) if {*found} - {figures.MISSING} else figures.MISSING


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
    Cost("calls", f"round trips of an update of {' / '.join(SIZES)} blocks", WHOLE, TRIPS),
    Cost("storage", "bytes of a history entry as a full copy", WHOLE, [bytes_of_entry]),
    *(
        Cost("history-size", f"bytes of a history entry, problem of {problem}", WHOLE, [_entry_bytes(problem)])
        for problem in PROBLEMS
    ),
    Cost("processes", "hot row, 8 writers: writes a second", WHOLE, [_hot("rate")]),
    Cost("processes", "hot row, 8 writers: values reset", WHOLE, [_hot("reset")]),
    Cost("iteration", "iteration over 500,000 rows: µs a row", "{:.1f}".format, [_microseconds_a_row]),
    Cost("iteration", "iteration over 500,000 rows: peak MB of the process", WHOLE, [_peak]),
)

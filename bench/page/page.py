"""The section about requests for a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contenders import IN_MEMORY, OURS, REFERENCE
from bench.page.figures import milliseconds, ratio, spread
from bench.page.report import Results, machine_of, table

FIRST_VIEW, RELOAD, SUBMIT = REQUESTS = ("first view", "reload", "submit")

PARTS_HEADS = (
    "database",
    "request",
    "contender",
    "ms",
    "XBlock and blocks",
    "the contender's code",
    "network",
    "server and waiting",
)
MEMORY_HEADS = ("database", "pages and learners", "MB before", "MB after")


def section(results: Mapping[str, Results]) -> str:
    """Return a table of times for each database, the parts of the times, and the memory."""
    parts = [machine_of(results)]
    for database, of in results.items():
        delays = of["delays"]
        heads = ("request", "contender", "round trips", *(f"{float(delay):g} ms" for delay in delays))
        parts += [f"**{database}**", table(heads, _rows(delays))]
    shares = [row for database, of in results.items() for row in _parts(database, of["delays"][PROFILED])]
    limits = [row for database, of in results.items() for row in _limits(database, of["delays"][PROFILED])]
    parts += ["The parts of these times in milliseconds, 0.5 ms from the server:", table(PARTS_HEADS, shares)]
    parts += [
        "The ratio that a store would reach whose own code and server take no time, with the round trips of *ours*:",
        table(("database", "request", "reference ÷ ours", "at most"), limits),
    ]
    memory = [_memory_row(database, of["memory"]) for database, of in results.items()]
    parts += ["Resident memory of a process, before and after it serves first views:", table(MEMORY_HEADS, memory)]
    return "\n\n".join(parts)


def whole(times: Mapping[str, Any]) -> float:
    """Return the reference's time of a request, divided by ours."""
    return float(times[REFERENCE]["median"] / times[OURS]["median"])


def state_alone(times: Mapping[str, Any]) -> float:
    """Return the same without the time that the request takes with a dictionary in the place of the state."""
    in_memory = times[IN_MEMORY]["median"]
    ours = max(times[OURS]["median"] - in_memory, _LEAST)
    return float((times[REFERENCE]["median"] - in_memory) / ours)


# Milliseconds. A difference of two times has no more digits.
_LEAST = 0.01


def _rows(delays: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    trips = next(iter(delays.values()))["round_trips"]
    for request in REQUESTS:
        times = [of["times"][request] for of in delays.values()]
        yield request, f"{REFERENCE} ÷ {OURS}", "", *(ratio(whole(each), 1) for each in times)
        yield request, "the same, state alone", "", *(ratio(state_alone(each), 1) for each in times)
        for name in (OURS, REFERENCE, IN_MEMORY):
            yield request, name, f"{trips[request][name]}", *(spread(each[name]) for each in times)


PROFILED = "0.5"
"""The delay in milliseconds of the requests whose parts are shown, which are those of the targets."""


def least(of: Mapping[str, Any], request: str) -> float:
    """Return the milliseconds of XBlock, the blocks and the network: the least that a store can take."""
    return float(of["times"][request][IN_MEMORY]["median"] + of["round_trips"][request][OURS] * float(PROFILED))


def _parts(database: str, of: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Yield the rows of the profile. The blocks' own time is that of the request without a store."""
    for request in REQUESTS:
        blocks = of["processor"][request][IN_MEMORY]["median"]
        for name in (OURS, REFERENCE):
            total, used = of["times"][request][name]["median"], of["processor"][request][name]["median"]
            network = of["round_trips"][request][name] * float(PROFILED)
            shown = (total, blocks, max(used - blocks, 0.0), network, max(total - used - network, 0.0))
            yield database, request, name, *map(milliseconds, shown)


def _limits(database: str, of: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for request in REQUESTS:
        times = of["times"][request]
        yield database, request, ratio(whole(times), 1), ratio(times[REFERENCE]["median"], least(of, request))


def _memory_row(database: str, memory: Mapping[str, float]) -> Sequence[str]:
    return database, f"{memory['pages']:,}", f"{memory['before']:.1f}", f"{memory['after']:.1f}"

"""The section about requests for a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contenders import IN_MEMORY, OURS, REFERENCE
from bench.page.figures import ratio, spread
from bench.page.report import Results, machine_of, table

FIRST_VIEW, RELOAD, SUBMIT = REQUESTS = ("first view", "reload", "submit")

MEMORY_HEADS = ("database", "pages and learners", "MB before", "MB after")


def section(results: Mapping[str, Results]) -> str:
    """Return a table of times for each database, and the memory."""
    parts = [machine_of(results)]
    for database, of in results.items():
        delays = of["delays"]
        heads = ("request", "contender", "round trips", *(f"{float(delay):g} ms" for delay in delays))
        parts += [f"**{database}**", table(heads, _rows(delays))]
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


def _memory_row(database: str, memory: Mapping[str, float]) -> Sequence[str]:
    return database, f"{memory['pages']:,}", f"{memory['before']:.1f}", f"{memory['after']:.1f}"

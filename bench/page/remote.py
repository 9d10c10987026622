"""The section about the service over HTTP and its client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contenders import OURS, REFERENCE
from bench.page.figures import milliseconds, ratio, spread
from bench.page.report import Results, machine_of, table

OWN, TOOL = "remote", "remote, a tool"
"""The remote client with a learner's own token, and with that of a program that acts for all learners."""

AT_A_DISTANCE = {OURS: 0.5, REFERENCE: 0.5, OWN: 2.0, TOOL: 2.0}
"""Milliseconds from each contender to the database, or to the service beside it."""

STREAMED = ("at the start", "in the middle", "at the end")

CALLS_HEADS = ("call of 10 blocks", "contender", "ms", "÷ ours", "requests", "round trips of the service")
DISTANCE_HEADS = ("call of 10 blocks", "contender", "ms away", "ms", "÷ the reference")
SIDES = ("client", "service", "database")
LOAD_HEADS = ("clients", "workers", "requests a second", "p50 ms", "p99 ms", *(f"µs of the {side}" for side in SIDES))
PARTS_HEADS = ("process", "part", "µs a request")
STREAM_HEADS = ("states", "states a second", *(f"MB {when}" for when in STREAMED))


def section(results: Mapping[str, Results]) -> str:
    """Return tables of the calls, the distance, the load with its parts, and the memory."""
    parts = [machine_of(results)]
    for database, of in results.items():
        parts += [f"**{database}**", table(CALLS_HEADS, _calls(of))]
        parts += ["With a network between:", table(DISTANCE_HEADS, _distance(of["distance"]))]
        parts += ["`get_many` of one block, by all clients at the same time:", table(LOAD_HEADS, [_load(of["load"])])]
        parts += ["Processor time of such a request:", table(PARTS_HEADS, _parts(of["load"]))]
        parts += ["Resident memory of the service over a stream:", table(STREAM_HEADS, _streams(of["stream"]))]
    return "\n\n".join(parts)


def to_ours(results: Results, operation: str) -> float:
    """Return the time of a remote call, divided by that of the local one."""
    times = results["calls"][operation]
    return float(times[OWN]["median"] / times[OURS]["median"])


def to_reference(results: Results, operation: str) -> float:
    """Return the time of the reference's call, divided by that of a remote one that is farther away."""
    times = results["distance"][operation]
    return float(times[REFERENCE]["median"] / times[OWN]["median"])


def growth(stream: Mapping[str, float]) -> float:
    """Return the memory of the service at the end of a stream, divided by that at the start."""
    return float(stream[STREAMED[-1]] / stream[STREAMED[0]])


def _calls(of: Results) -> Iterator[Sequence[str]]:
    for operation, times in of["calls"].items():
        for name, each in times.items():
            trips = of["trips"][operation].get(name)
            counts = (f"{trips['requests']}", f"{trips['to_database']}") if trips else ("", "")
            yield operation, name, spread(each), ratio(each["median"], times[OURS]["median"]), *counts


def _distance(distance: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for operation, times in distance.items():
        for name, each in times.items():
            compared = ratio(each["median"], times[REFERENCE]["median"])
            yield operation, name, f"{AT_A_DISTANCE[name]:g}", spread(each), compared


def _load(load: Mapping[str, Any]) -> Sequence[str]:
    percentiles = milliseconds(load["p50"]), milliseconds(load["p99"])
    sides = (f"{load[side]:,.0f}" for side in SIDES)
    return f"{load['clients']}", f"{load['workers']}", f"{load['rate']:,.0f}", *percentiles, *sides


def _parts(load: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for process, parts in load["profiles"].items():
        for part, microseconds in parts.items():
            yield process, part, f"{microseconds:,.0f}"
        # The profiled process has no server, and one caller.
        rest = load[process] - sum(parts.values())
        yield (
            process,
            "the server's program and the system" if process == "service" else "more, under load",
            f"{rest:,.0f}",
        )
    yield "database", "PostgreSQL", f"{load['database']:,.0f}"


def _streams(streams: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for rows, stream in streams.items():
        memory = (f"{stream[when]:.1f}" for when in STREAMED)
        yield f"{int(rows):,}", f"{int(rows) / stream['seconds']:,.0f}", *memory

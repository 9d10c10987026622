"""Times and round trips of single calls, for all contenders in turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from bench.contenders import ALL, REFERENCE, WARM
from bench.contenders.base import Call, Contender
from bench.page.figures import summaries, summary
from bench.page.report import Results
from bench.site import machine, scale
from bench.site.data import BLOCKS_OF_COURSE, COURSES, Block, Learner, attempt, blocks_of, state
from bench.site.filling import of_site
from bench.site.proxy import between
from bench.workloads.stage import Contenders, disconnect, new_learners, rotated, set_stage, timed

SIZES_OF_HISTORY = (1, 100)
COUNTED = (1, 10, 100)
COUNTED_TURNS = (-2, -1, 0)
OPERATIONS = ("set_many, new", "set_many, update", "get_many", "delete_many")

Turn = tuple[str, Contender, Learner]


def measure(_folder: Path) -> Results:
    """Measure all calls of all contenders."""
    rows, sizes = of_site(scale.chosen().background), list(scale.chosen().repetitions)
    found = set_stage(ALL, rows, rows.learners + _new_learners())
    learners = new_learners(rows.learners)
    times = {size: _times(found, learners, size) for size in sizes}
    history = {size: _history_times(found, learners, size) for size in SIZES_OF_HISTORY}
    return {
        "machine": machine.line(),
        "times": {operation: {size: times[size][operation] for size in sizes} for operation in OPERATIONS},
        "history": history,
        "round_trips": _round_trips(found, learners),
    }


def _new_learners() -> int:
    """Return the number of learners that all turns need, including the untimed and the counted turns."""
    turns = sum(number + 1 for number in scale.chosen().repetitions.values()) + len(SIZES_OF_HISTORY)
    return (turns + len(COUNTED_TURNS) * len(COUNTED)) * len(ALL)


def _times(found: Contenders, learners: Callable[[], Learner], size: int) -> dict[str, Any]:
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    # The first turn is not timed: it warms up plans and caches, and registers new blocks.
    for turn in range(-1, scale.chosen().repetitions[size]):
        for operation, name, call in _calls(found, learners, size, turn):
            milliseconds = timed(call)
            if turn >= 0:
                samples[operation][name].append(milliseconds)
    return dict(summaries(samples))


def _calls(found: Contenders, learners: Callable[[], Learner], size: int, turn: int) -> Iterator[tuple[str, str, Call]]:
    """Yield the operations of all contenders in turn, with a new learner for each contender."""
    blocks = blocks_of(0, size) if size > BLOCKS_OF_COURSE else blocks_of(turn % COURSES)[:size]
    # The reference takes seconds for the largest calls, so it gets a third of the repetitions.
    left_out = REFERENCE if size > BLOCKS_OF_COURSE and turn % 3 else None
    order = [(name, contender, learners()) for name, contender in rotated(found, turn) if name != left_out]
    # To warm up the largest calls, it is enough to register their blocks.
    for operation in OPERATIONS if turn >= 0 or size <= BLOCKS_OF_COURSE else OPERATIONS[:1]:
        for name, contender, learner in _taking_part(operation, order):
            yield operation, name, call_of(operation, contender, learner, blocks, Random(f"{turn} {operation}"))


def _taking_part(operation: str, order: Sequence[Turn]) -> list[Turn]:
    """Return the turns of an operation. Warm contenders skip reads, which gain nothing from an earlier read."""
    return [turn for turn in order if operation != "get_many" or turn[0] not in WARM]


def call_of(operation: str, contender: Contender, learner: Learner, blocks: Sequence[Block], random: Random) -> Call:
    """Return the call of an operation, ready to be timed."""
    if operation == "set_many, new":
        return contender.set_many(learner, {block: state(random) for block in blocks})
    if operation == "set_many, update":
        return contender.set_many(learner, {block: attempt(random, 2) for block in blocks})
    if operation == "get_many":
        return contender.get_many(learner, blocks)
    return contender.delete_many(learner, blocks)


def _history_times(found: Contenders, learners: Callable[[], Learner], size: int) -> dict[str, Any]:
    [block] = blocks_of(1)[:1]
    cold = {name: contender for name, contender in found.items() if name not in WARM}
    owners = {name: learners() for name in cold}
    for name, contender in cold.items():
        contender.set_many(owners[name], {block: state(Random(0))})()
        for number in range(2, size + 1):
            contender.set_many(owners[name], {block: attempt(Random(number), number)})()
    samples: dict[str, list[float]] = defaultdict(list)
    # The reference reads a hundred entries one by one, as slowly as it writes a hundred blocks.
    for turn in range(scale.chosen().repetitions[10 if size == 1 else size]):
        for name, contender in rotated(cold, turn):
            samples[name].append(timed(contender.get_history(owners[name], block)))
    return {name: summary(times) for name, times in samples.items()}


def _round_trips(found: Contenders, learners: Callable[[], Learner]) -> Mapping[str, Any]:
    """Count round trips on the wire, transaction control included, of connected and warm contenders."""
    counts: dict[str, dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    disconnect(found)
    with between(0) as proxy:
        for size in COUNTED:
            # Each turn overwrites the counts of the one before. The first two connect, warm up and prepare statements.
            for turn in COUNTED_TURNS:
                for operation, name, call in _calls(found, learners, size, turn):
                    before = proxy.round_trips()
                    result = call()
                    if operation == "get_many" and len(result) != size:
                        raise RuntimeError(f"{name} found {len(result)} of {size} blocks")
                    counts[operation][size][name] = proxy.round_trips() - before
        disconnect(found)
    return counts

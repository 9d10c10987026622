"""Votes of several processes in one poll, by the `poll` XBlock in the demo's host: guarded units of work beside others.

Without the guard, votes of concurrent requests are lost. The workload counts the votes that the poll has afterwards.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections
from opaque_keys.edx.keys import UsageKey
from webob import Request, Response
from xblock.fields import Scope

from bench.contenders.tables import drop_tables
from bench.page.figures import percentile
from bench.page.report import Results
from bench.page.voting import GUARDED, UNGUARDED
from bench.site import machine, scale
from bench.site.recordings import COURSE
from demo.host.content import load_course
from demo.host.learners import with_account
from demo.host.outline import Course
from demo.host.runtime import LearnerRuntime
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.hosting import store_for
from xblock_user_state.runtime import run_guarded

POLL = "f2a9c7d04b6e4c0d9a31e85d7b60c4f8"
NUMBERS = (1, scale.WRITERS)
TURNS = 4
"""Turns of each kind of unit, one after the other, so that a busy moment of the machine hits both."""

WARM_UP_SECONDS = 0.01
LEARNERS_OF_A_PROCESS = 1_000_000

Vote = Callable[[int, bool], None]
"""Lets the learner with an id vote, with the guard or without."""

Run = tuple[float, list[float]]
"""A process's turn: seconds, and the milliseconds of each vote."""


class Turn(NamedTuple):
    """The votes of all processes in one turn: votes a second, the time of each vote, and the votes in the poll."""

    rate: float
    milliseconds: list[float]
    counted: int


def measure(_folder: Path) -> Results:
    """Measure one process, and eight."""
    drop_tables()
    call_command("flush", interactive=False, verbosity=0)
    course = load_course(COURSE)
    with _voters(partial(_vote, course)) as voters:
        return {
            "machine": machine.line(),
            "votes": {str(number): _measure(course, voters[:number]) for number in NUMBERS},
        }


def _measure(course: Course, voters: Sequence[Connection]) -> Results:
    turns: dict[str, list[Turn]] = {GUARDED: [], UNGUARDED: []}
    for number in range(-1, TURNS):
        for name, done in turns.items():
            # The first turn opens connections and fills caches.
            seconds = scale.chosen().seconds / TURNS if number >= 0 else WARM_UP_SECONDS
            before = _counted(course)
            runs = _run(voters, guarded=name == GUARDED, seconds=seconds)
            turn = _turn(runs, _counted(course) - before)
            if number >= 0:
                done.append(turn)
    return {name: summary(name, done) for name, done in turns.items()}


def summary(name: str, turns: Sequence[Turn]) -> Results:
    """Return the figures of all turns together. Raises ``RuntimeError`` if guarded units have lost votes."""
    times = [time for turn in turns for time in turn.milliseconds]
    counted = sum(turn.counted for turn in turns)
    if name == GUARDED and counted != len(times):
        raise RuntimeError(f"guarded units lost votes: {len(times)} votes, and the poll has {counted}")
    return {
        "rate": sum(turn.rate for turn in turns) / len(turns),
        "p50": percentile(times, 50),
        "p99": percentile(times, 99),
        "cast": len(times),
        "counted": counted,
    }


def _turn(runs: Sequence[Run], counted: int) -> Turn:
    rate = sum(len(milliseconds) / seconds for seconds, milliseconds in runs)
    return Turn(rate, [time for _, milliseconds in runs for time in milliseconds], counted)


def _counted(course: Course) -> int:
    """Return the number of votes in the poll."""
    found = DjangoXBlockUserStateClient().get_many(None, [_poll(course)], Scope.user_state_summary)
    return sum(int(votes) for each in found for votes in (each.state or {}).get("tally", {}).values())


def _poll(course: Course) -> UsageKey:
    key: UsageKey = course.ids.course_key.make_usage_key("poll", POLL)
    return key


def _vote(course: Course, learner: int, guarded: bool) -> None:
    """Let a learner vote, as a web request does. No account is read, because the client knows the id of its user."""
    user = get_user_model()(pk=learner, username=f"learner{learner}")
    ballot = Request.blank("/", method="POST", json={"choice": "north" if learner % 2 else "south"})

    def work() -> Response:
        runtime = LearnerRuntime(course, with_account(user), store_for(user))
        with runtime.learner_state.unit_of_work(guarded=guarded):
            return runtime.handle(runtime.get_block(_poll(course)), "vote", ballot)

    answer = run_guarded(work) if guarded else work()
    if not answer.json["success"]:
        raise RuntimeError(f"the poll refuses a vote: {answer.json['errors']}")


@contextmanager
def _voters(vote: Vote) -> Iterator[list[Connection]]:
    """Start the processes. They are forked, because the import of the blocks takes seconds."""
    forked = multiprocessing.get_context("fork")
    # Processes must not share a connection.
    connections.close_all()
    lines, processes = [], []
    for number in range(max(NUMBERS)):
        line, theirs = forked.Pipe()
        process = forked.Process(target=_take_turns, args=(theirs, vote, number), daemon=True)
        process.start()
        theirs.close()
        lines.append(line)
        processes.append(process)
    try:
        yield lines
    finally:
        for process in processes:
            process.kill()
            process.join()


def _run(voters: Sequence[Connection], *, guarded: bool, seconds: float) -> list[Run]:
    """Let all vote for some seconds at the same time."""
    for voter in voters:
        voter.send((guarded, seconds))
    # A process that fails prints its traceback, and the end of its line is an EOFError here.
    return [voter.recv() for voter in voters]


def _take_turns(line: Connection, vote: Vote, number: int) -> None:
    learners = count(1 + number * LEARNERS_OF_A_PROCESS)
    while True:
        guarded, seconds = line.recv()
        times: list[float] = []
        begun = now = perf_counter()
        while now - begun < seconds:
            learner, started = next(learners), perf_counter()
            vote(learner, guarded)
            now = perf_counter()
            times.append((now - started) * 1000)
        line.send((now - begun, times))

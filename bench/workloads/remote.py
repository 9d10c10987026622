"""The service over HTTP and its client beside the local client and the reference, on PostgreSQL.

Calls without a distance, and at a distance that a remote host has; statements and requests; requests of 8 clients and
where their time goes; the memory of the service over a stream of a whole course.
"""

from __future__ import annotations

import cProfile
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, process_time
from typing import Any

from django.db import connection

from bench.contenders import OURS, REFERENCE
from bench.contenders.base import Contender
from bench.contenders.remote import Remote
from bench.page.figures import percentile, summaries
from bench.page.remote import AT_A_DISTANCE, OWN, STREAMED, TOOL
from bench.page.report import Results
from bench.site import machine, scale, service
from bench.site.data import Learner, attempt, blocks_of, course_key, state
from bench.site.filling import of_course, of_site
from bench.site.proxy import between, forwarding
from bench.site.service import Service, serving
from bench.workloads import processes
from bench.workloads.profiling import MESSAGES, shares
from bench.workloads.stage import Contenders, new_learners, rotated, set_stage, timed
from xblock_user_state.remote import Limits, RemoteXBlockUserStateClient

CLIENTS = 8
RUNS = 3
"""Runs of the clients; the median counts."""

OPERATIONS = ("set_many, update", "get_many")
COUNTED = 12
"""Calls before the counted one: they connect, and prepare statements."""

PROFILED = 300
BLOCKS_OF_STREAM = 50
WARMING = 10_000
"""States that are streamed before the memory is measured: they fill the caches of the service."""

PARTS_OF_CLIENT = {
    "messages": MESSAGES,
    "retries, breaker, deadlines": r"/xblock_user_state/remote/|/stamina/|/tenacity/",
    "arguments and results": r"/xblock_user_state/|/opaque_keys/|/xblock/",
    "httpx2, httpcore2, h11": r"/httpx2/|/httpcore2/|/h11/",
}
_WAITS_OF_CLIENT = r"method 'recv' of '_socket\.socket'"


def measure(folder: Path) -> Results:
    """Measure the calls, the statements, the requests of many clients, and the memory."""
    rows = of_site(scale.chosen().background)
    found = set_stage([OURS, REFERENCE], rows, rows.learners + CLIENTS + 4)
    service.make_tool(10**6)
    newcomers = new_learners(rows.learners)
    owners = {name: newcomers() for name in (OURS, OWN, TOOL, REFERENCE)}
    clients = [newcomers() for _ in range(CLIENTS)]
    _give_states(found, owners, clients)
    of_tool, (own, *of_clients) = service.tokens([owners[OWN], *clients])
    tokens = {OWN: own, TOOL: of_tool}
    results: Results = {"machine": machine.line()}
    with serving(folder, os.environ["DATABASE_URL"]) as running:
        results |= _calls(found, owners, running, tokens)
        results["trips"] = _trips(folder, owners[OWN], tokens)
        results["load"] = _load(running, folder, clients, of_clients)
    results["stream"] = _stream(folder)
    return results


def _give_states(found: Contenders, owners: Mapping[str, Learner], clients: Sequence[Learner]) -> None:
    states = {block: state(Random(0)) for block in blocks_of(0)[: scale.BLOCKS]}
    for name, owner in owners.items():
        found[name if name in found else OURS].set_many(owner, states)()
    for client in clients:
        found[OURS].set_many(client, states)()


def _remotes(tokens: Mapping[str, str], port: int) -> dict[str, Contender]:
    return {name: Remote(RemoteXBlockUserStateClient(service.address(port), token)) for name, token in tokens.items()}


def _calls(
    found: Contenders, owners: Mapping[str, Learner], running: Service, tokens: Mapping[str, str]
) -> dict[str, Any]:
    near = {OURS: found[OURS], **_remotes(tokens, running.port)}
    calls = _times(near, owners, scale.chosen().repetitions[scale.BLOCKS])
    with between(AT_A_DISTANCE[REFERENCE]), forwarding("127.0.0.1", running.port, AT_A_DISTANCE[OWN]) as proxy:
        far = {**found, **_remotes(tokens, proxy.port)}
        distance = _times(far, owners, scale.chosen().round_trips)
        _disconnect(far)
    _disconnect(near)
    return {"calls": calls, "distance": distance}


def _times(found: Contenders, owners: Mapping[str, Learner], turns: int) -> dict[str, Any]:
    """Time the operations of all contenders in turn."""
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    # The first turns connect, and prepare statements.
    for turn in range(-COUNTED, turns):
        for name, contender in rotated(found, turn):
            for operation in OPERATIONS:
                milliseconds = timed(_call(operation, contender, owners[name], turn))
                if turn >= 0:
                    samples[operation][name].append(milliseconds)
    return dict(summaries(samples))


def _call(operation: str, contender: Contender, owner: Learner, turn: int) -> Any:
    blocks = blocks_of(0)[: scale.BLOCKS]
    if operation == "get_many":
        return contender.get_many(owner, blocks)
    return contender.set_many(owner, {block: attempt(Random(turn), turn + COUNTED + 2) for block in blocks})


def _disconnect(found: Contenders) -> None:
    for contender in found.values():
        contender.disconnect()


def _trips(folder: Path, owner: Learner, tokens: Mapping[str, str]) -> dict[str, Any]:
    """Count the requests of a call, and the round trips to the database that the service makes for them."""
    counts: dict[str, dict[str, Any]] = defaultdict(dict)
    url, port = os.environ["DATABASE_URL"], connection.settings_dict["PORT"]
    with ExitStack() as stack:
        to_database = stack.enter_context(forwarding("127.0.0.1", int(port), 0))
        running = stack.enter_context(_serving_one(folder, url.replace(f":{port}/", f":{to_database.port}/")))
        to_service = stack.enter_context(forwarding("127.0.0.1", running.port, 0))
        remotes = _remotes(tokens, to_service.port)
        for operation in OPERATIONS:
            for name, contender in remotes.items():
                for turn in range(-COUNTED, 0):
                    _call(operation, contender, owner, turn)()
                before = to_service.round_trips(), to_database.round_trips()
                _call(operation, contender, owner, 0)()
                after = to_service.round_trips(), to_database.round_trips()
                requests, statements = (one - other for one, other in zip(after, before, strict=True))
                counts[operation][name] = {"requests": requests, "to_database": statements}
        _disconnect(remotes)
    return counts


def _serving_one(folder: Path, url: str) -> AbstractContextManager[Service]:
    # One thread, so that the connection to the database is the one that has prepared the statements.
    return serving(folder, url, workers=1, threads=1)


def _load(running: Service, folder: Path, clients: Sequence[Learner], tokens: Sequence[str]) -> dict[str, Any]:
    """Let the clients read one block again and again; count requests, and the processor time of each side."""
    options = {"url": running.url, "tokens": tokens, "learners": clients}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [backend] = cursor.fetchone()
    database = service.parent_of(backend)
    runs = []
    with processes.workers_of(CLIENTS) as workers:
        processes.run(workers, "remote", **options)
        for _ in range(RUNS):
            before = running.milliseconds(), service.milliseconds_of(database)
            reports = processes.run(workers, "remote", **options)
            after = running.milliseconds(), service.milliseconds_of(database)
            runs.append(_summary(reports, [one - other for one, other in zip(after, before, strict=True)]))
    load = {key: median(one[key] for one in runs) for key in runs[0]}
    profiles = {"client": _profile_of_client(running, clients[0], tokens[0]), "service": _profile(folder, clients[0])}
    return {"clients": CLIENTS, "workers": service.WORKERS, **load, "profiles": profiles}


def _summary(reports: Sequence[Mapping[str, Any]], of_others: Sequence[float]) -> dict[str, float]:
    times = [time for report in reports for time in report["milliseconds"]]
    used = (sum(report["processor"] for report in reports), *of_others)
    sides = dict(zip(("client", "service", "database"), (1000 * each / len(times) for each in used), strict=True))
    rate = sum(len(report["milliseconds"]) / report["seconds"] for report in reports)
    return {"rate": rate, "p50": percentile(times, 50), "p99": percentile(times, 99), **sides}


def _profile_of_client(running: Service, owner: Learner, token: str) -> dict[str, float]:
    """Return the microseconds of processor time that the parts of the client take for a request."""
    contender = Remote(RemoteXBlockUserStateClient(running.url, token))
    call = contender.get_many(owner, blocks_of(0)[:1])
    call()
    since = process_time()
    for _ in range(PROFILED):
        call()
    each, profile = (process_time() - since) / PROFILED, cProfile.Profile()
    for _ in range(PROFILED):
        profile.runcall(call)
    contender.disconnect()
    found = shares(profile, PARTS_OF_CLIENT, _WAITS_OF_CLIENT)
    return {part: share * each * 1e6 for part, share in found.items()}


def _profile(folder: Path, owner: Learner) -> dict[str, float]:
    """Return the same of the parts of the service, from a process that calls its application without a server."""
    _, [token] = service.tokens([owner])
    environment = {**os.environ, **service.environment_of(folder, os.environ["DATABASE_URL"])}
    command = [sys.executable, "-W", "ignore", "-m", "bench.workloads.serve", owner.username, token, str(PROFILED)]
    with (folder / "service.log").open("ab") as log:
        ended = subprocess.run(  # noqa: S603 - runs our own module
            command, env=environment, stdout=subprocess.PIPE, stderr=log, check=True
        )
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def _stream(folder: Path) -> dict[int, Any]:
    """Stream all states of a course, and return the resident memory of the service on the way, in megabytes."""
    rows = scale.chosen().courses[-1]
    learners = rows // BLOCKS_OF_STREAM
    set_stage([OURS], of_course(rows, learners), learners)
    service.make_tool(10**6)
    of_tool, _ = service.tokens([])
    with serving(folder, os.environ["DATABASE_URL"], workers=1, threads=1) as running:
        # A caller of a report waits longer for a part of it than for a call.
        client = RemoteXBlockUserStateClient(running.url, of_tool, limits=Limits(attempt=30, total=60))
        for number, _ in enumerate(client.iter_all_for_course(course_key(0)), 1):
            if number == min(WARMING, rows):
                break
        found: dict[str, float] = {STREAMED[0]: running.megabytes()}
        since, number = perf_counter(), 0
        for number, _ in enumerate(client.iter_all_for_course(course_key(0)), 1):
            if number == rows // 2:
                found[STREAMED[1]] = running.megabytes()
        found |= {STREAMED[2]: running.megabytes(), "seconds": perf_counter() - since}
        client.close()
    if number != rows:
        raise RuntimeError(f"the stream had {number} of {rows} states")
    return {rows: found}

"""The service over HTTP on the benchmark's page: figures, targets, and the parts of a request."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

import django.core.handlers.wsgi
import httpcore2
import httpx2
import msgspec
import ninja
import pytest

from bench.contenders import OURS, REFERENCE
from bench.page import remote, targets
from bench.page.figures import summary
from bench.page.remote import OWN, STREAMED, TOOL
from bench.workloads.profiling import OTHER, part_of
from bench.workloads.remote import PARTS_OF_CLIENT
from bench.workloads.serve import PARTS
from xblock_user_state import wire
from xblock_user_state.remote import transport
from xblock_user_state.service import access_log, tokens
from xblock_user_state.store import reader, users

CALLS = {OURS: summary([2.0]), OWN: summary([5.0]), TOOL: summary([6.0])}
DISTANCE = {**CALLS, REFERENCE: summary([4.0])}
STREAM = dict(zip(STREAMED, (100.0, 101.0, 102.0), strict=True))


def _results() -> dict[str, Any]:
    operations = ("set_many, update", "get_many")
    trips = {OWN: {"requests": 1, "to_database": 2}, TOOL: {"requests": 1, "to_database": 3}}
    profiles = {"client": {"messages": 10.0}, "service": {"Django": 150.0, "driver": 50.0}}
    load = {"clients": 8, "workers": 2, "rate": 1600.0, "p50": 5.0, "p99": 20.0}
    return {
        "machine": "A full run.",
        "calls": dict.fromkeys(operations, CALLS),
        "distance": dict.fromkeys(operations, DISTANCE),
        "trips": dict.fromkeys(operations, trips),
        "load": {**load, "client": 300.0, "service": 500.0, "database": 100.0, "profiles": profiles},
        "stream": {"500000": {**STREAM, "seconds": 20.0}},
    }


def test_remote_calls_stand_beside_the_local_ones_and_the_reference() -> None:
    lines = remote.section({"PostgreSQL 15": _results()}).splitlines()
    assert "| get_many | remote | 5.00 (5.00–5.00) | 2.50 | 1 | 2 |" in lines
    assert "| get_many | reference | 0.5 | 4.00 (4.00–4.00) | 1.00 |" in lines
    assert "| get_many | remote | 2 | 5.00 (5.00–5.00) | 1.25 |" in lines
    assert "| 8 | 2 | 1,600 | 5.00 | 20.0 | 300 | 500 | 100 |" in lines
    assert "| 500,000 | 25,000 | 100.0 | 101.0 | 102.0 |" in lines


def test_the_rest_of_the_service_is_its_server() -> None:
    lines = remote.section({"PostgreSQL 15": _results()}).splitlines()
    assert "| service | the server's program and the system | 300 |" in lines
    assert "| client | more, under load | 290 |" in lines


def test_the_service_has_targets() -> None:
    known = {"remote": {"PostgreSQL 15": _results()}}
    found = [verdict for verdict in targets.verdicts(known, targets.PRESENT) if verdict.target.workload == "remote"]
    assert [verdict.measured for verdict in found] == pytest.approx([2.5, 2.5, 0.8, 0.8, 1600, 1.02])
    assert [verdict.is_met for verdict in found] == [True, True, False, False, True, False]


def test_a_small_stream_tells_nothing_of_a_large_one() -> None:
    known = {"remote": {"PostgreSQL 15": {**_results(), "stream": {"10000": {**STREAM, "seconds": 1.0}}}}}
    found = [verdict for verdict in targets.verdicts(known, targets.PRESENT) if verdict.target.workload == "remote"]
    assert found[-1].measured is None


@pytest.mark.parametrize(
    ("module", "part"),
    [
        (tokens, "token and account"),
        (users, "token and account"),
        (access_log, "access log"),
        (logging, "access log"),
        (wire, "messages"),
        (msgspec, "messages"),
        (reader, "policy, client and store"),
        (ninja, "Ninja"),
        (django.core.handlers.wsgi, "Django"),
        (pytest, OTHER),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_profile_of_the_service_finds_the_part_of_each_module(module: ModuleType, part: str) -> None:
    assert part_of(str(module.__file__), PARTS) == part


@pytest.mark.parametrize(
    ("module", "part"),
    [
        (wire, "messages"),
        (transport, "retries, breaker, deadlines"),
        (httpx2, "httpx2, httpcore2, h11"),
        (httpcore2, "httpx2, httpcore2, h11"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_profile_of_the_client_does_too(module: ModuleType, part: str) -> None:
    assert part_of(str(module.__file__), PARTS_OF_CLIENT) == part

"""Iterations over a connection that is cut: each state once, and an error instead of a part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import httpx2
import pytest

from tests.unit.remote.scripted import KEY, Service, SleepingClock, Step, answer, body, client_of, fault, problem
from xblock_user_state import wire
from xblock_user_state.interface import PermissionDenied, ServiceUnavailable
from xblock_user_state.remote import Limits

CUT = httpx2.RemoteProtocolError("peer closed connection")


def state(learner: str) -> bytes:
    updated = datetime(2026, 1, 2, tzinfo=UTC)
    packed = wire.pack_json('{"seen":3}')
    line = wire.StateLine(key=str(KEY), learner=learner, revision=1, state=packed, updated=updated)
    return wire.encode(line) + b"\n"


def resume(place: str) -> bytes:
    return wire.encode(wire.ResumeLine(resume=place)) + b"\n"


END = wire.encode(wire.EndLine()) + b"\n"
FIRST = state("ann") + state("bob") + resume("after bob")
SECOND = state("cid") + resume("after cid")
THIRD = state("dan") + END


def learners(service: Service, clock: SleepingClock) -> list[str]:
    return [found.username for found in client_of(service, clock).iter_all_for_block(KEY)]


def places(service: Service) -> Sequence[str | None]:
    return [message.get("resume") for message in service.messages()]


def test_a_stream_is_one_request(clock: SleepingClock) -> None:
    service = Service(body(FIRST + SECOND + THIRD))
    assert learners(service, clock) == ["ann", "bob", "cid", "dan"]
    assert places(service) == [None]


def test_lines_may_be_split_anywhere(clock: SleepingClock) -> None:
    text = FIRST + SECOND + THIRD
    for size in (1, 7, 100):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert learners(Service(body(*pieces)), clock) == ["ann", "bob", "cid", "dan"]


CUTS: dict[str, Step] = {
    "reset": body(FIRST + state("cid"), CUT),
    "reset in a line": body(FIRST + state("cid")[:20], CUT),
    # As through a proxy that ends the answer politely.
    "ended": body(FIRST + state("cid")),
    "ended in a line": body(FIRST + state("cid")[:20]),
    "garbled": body(FIRST + b"<html>\n"),
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_stream_goes_on_where_it_was(cut: str, clock: SleepingClock) -> None:
    service = Service(CUTS[cut], fault(httpx2.ConnectError), body(SECOND, CUT), body(THIRD))
    assert learners(service, clock) == ["ann", "bob", "cid", "dan"]
    assert places(service) == [None, "after bob", "after bob", "after cid"]


def test_a_stream_that_gets_nowhere_is_an_error(clock: SleepingClock) -> None:
    service = Service(body(FIRST), body(state("cid"), CUT))
    found = client_of(service, clock, Limits(attempts=3, failures=100)).iter_all_for_block(KEY)
    assert [next(found).username, next(found).username] == ["ann", "bob"]
    with pytest.raises(ServiceUnavailable):
        next(found)
    # The cut of the first answer counts as an attempt.
    assert places(service) == [None, "after bob", "after bob"]


def test_progress_gives_a_stream_new_attempts(clock: SleepingClock) -> None:
    parts = [body(state(f"learner{number}") + resume(str(number)), CUT) for number in range(20)]
    service = Service(*parts, body(END))
    assert learners(service, clock) == [f"learner{number}" for number in range(20)]


def test_a_problem_in_the_midst_is_the_contracts_error(clock: SleepingClock) -> None:
    line = wire.encode(wire.ProblemLine(problem=wire.problem("PermissionDenied", "not these"))) + b"\n"
    service = Service(body(FIRST + state("cid") + line))
    found = client_of(service, clock).iter_all_for_block(KEY)
    assert [next(found).username, next(found).username] == ["ann", "bob"]
    with pytest.raises(PermissionDenied, match="not these"):
        next(found)
    assert len(service.requests) == 1


def test_a_problem_that_passes_is_a_cut(clock: SleepingClock) -> None:
    line = wire.encode(wire.ProblemLine(problem=wire.problem("ServiceUnavailable", "restarting"))) + b"\n"
    service = Service(body(FIRST + state("cid") + line), body(SECOND + THIRD))
    assert learners(service, clock) == ["ann", "bob", "cid", "dan"]
    lasting = Service(body(line))
    with pytest.raises(ServiceUnavailable, match="restarting"):
        learners(lasting, clock)


def test_a_refused_stream_is_the_contracts_error(clock: SleepingClock) -> None:
    service = Service(problem("PermissionDenied"))
    with pytest.raises(PermissionDenied):
        next(client_of(service, clock).iter_all_for_course(KEY.context_key))
    assert len(service.requests) == 1


def entry(revision: int) -> dict[str, object]:
    return {"revision": revision, "state": {"seen": revision}, "updated": "2026-01-02T03:04:05Z"}


def test_a_history_is_read_in_pages(clock: SleepingClock) -> None:
    pages = [{"entries": [entry(4), entry(3)], "more": True}, {"entries": [entry(2), entry(1)]}]
    service = Service(*(answer(200, page) for page in pages))
    assert [found.revision for found in client_of(service, clock).get_history("ann", KEY)] == [4, 3, 2, 1]
    assert [message.get("before_revision") for message in service.messages()] == [None, 3]


def test_a_limit_holds_over_pages(clock: SleepingClock) -> None:
    pages = [{"entries": [entry(4), entry(3)], "more": True}, {"entries": [entry(2)], "more": True}]
    service = Service(*(answer(200, page) for page in pages))
    assert [found.revision for found in client_of(service, clock).get_history("ann", KEY, limit=3)] == [4, 3, 2]
    assert [message["limit"] for message in service.messages()] == [3, 1]

"""Requests that fail: repeated where another attempt may succeed, the contract's errors everywhere else."""

from __future__ import annotations

import gzip
from typing import Any

import httpx2
import pytest

from tests.unit.remote.scripted import (
    KEY,
    STEADY,
    Service,
    SleepingClock,
    Step,
    answer,
    body,
    client_of,
    fault,
    problem,
)
from xblock_user_state import wire
from xblock_user_state.interface import (
    Conflict,
    DamagedState,
    DoesNotExist,
    PermissionDenied,
    ServiceUnavailable,
    UserDoesNotExist,
)
from xblock_user_state.remote import Limits, RemoteXBlockUserStateClient, State

HTML = b"<html>Bad gateway</html>"
PASSING = {
    "refused": fault(httpx2.ConnectError),
    "no route": fault(httpx2.ConnectTimeout),
    "reset before the answer": fault(httpx2.ReadError),
    "closed before the answer": fault(httpx2.RemoteProtocolError),
    "slow": fault(httpx2.ReadTimeout),
    "cut in the answer": body(b'{"rows": [', httpx2.RemoteProtocolError("incomplete")),
    "garbled on the way": body(b"no gzip", content_encoding="gzip"),
    "bad gateway": lambda _: httpx2.Response(502, content=HTML),
    "unavailable": problem("ServiceUnavailable"),
    "not begun in time": problem("DeadlinePassed"),
    "throttled": answer(429, {}, retry_after="2"),
}


@pytest.fixture(params=PASSING)
def passing(request: pytest.FixtureRequest) -> Step:
    return PASSING[request.param]


def test_a_read_is_repeated(passing: Step, clock: SleepingClock) -> None:
    service = Service(passing, passing, answer(200))
    assert client_of(service, clock).get("ann", KEY).state == {"seen": 3}
    assert len(service.requests) == 3


def test_a_write_is_repeated_under_its_key(passing: Step, clock: SleepingClock) -> None:
    service = Service(passing, answer(200))
    client = client_of(service, clock)
    client.set("ann", KEY, {"seen": 4})
    client.set("ann", KEY, {"seen": 4})
    first, repeated, second = service.headers(wire.IDEMPOTENCY_KEY)
    assert first == repeated != second
    assert len({request.content for request in service.requests}) == 1


def test_a_failure_that_lasts_is_the_contracts_error(passing: Step, clock: SleepingClock) -> None:
    service = Service(passing)
    with pytest.raises(ServiceUnavailable) as raised:
        client_of(service, clock).set("ann", KEY, {"seen": 4})
    assert raised.value.__cause__ is not None
    assert len(service.requests) == STEADY.attempts


REFUSALS = [
    (problem("DoesNotExist"), DoesNotExist),
    (problem("UserDoesNotExist"), UserDoesNotExist),
    (problem("PermissionDenied"), PermissionDenied),
    (problem("Unauthorized"), PermissionDenied),
    (lambda _: httpx2.Response(401), PermissionDenied),
    (lambda _: httpx2.Response(403, content=HTML), PermissionDenied),
    (problem("Conflict"), Conflict),
    (problem("DamagedState"), DamagedState),
    (problem("ValueError"), ValueError),
    (problem("TypeError"), TypeError),
    (problem("RequestTooLarge"), ValueError),
    (lambda _: httpx2.Response(404, content=HTML), ServiceUnavailable),
    (lambda _: httpx2.Response(301, headers={"Location": "https://service.test/"}), ServiceUnavailable),
]


@pytest.mark.parametrize(("refusal", "error"), REFUSALS)
def test_an_answer_that_stays_is_an_error_at_once(refusal: Step, error: type[Exception], clock: SleepingClock) -> None:
    service = Service(refusal)
    # One failure would open the breaker.
    client = client_of(service, clock, Limits(failures=1))
    with pytest.raises(error) as raised:
        client.set("ann", KEY, {"seen": 4})
    assert type(raised.value) is error
    assert raised.value.__cause__ is not None
    assert len(service.requests) == 1
    assert client.breaker.state is State.CLOSED


def test_a_conflict_names_the_callers_key(clock: SleepingClock) -> None:
    published: Any = KEY
    branched = published.for_branch("draft-branch")
    address = wire.ConflictingAddress(key=str(KEY), expected=3, actual=5)
    found = wire.problem("Conflict", "no", rows=[address])
    service = Service(lambda _: httpx2.Response(412, content=wire.encode(found)))
    with pytest.raises(Conflict) as raised:
        client_of(service, clock).set("ann", branched, {"seen": 4}, if_revision=3)
    [row] = raised.value.rows
    assert (row.block_key, row.expected, row.actual) == (branched, 3, 5)


@pytest.mark.parametrize("content", [HTML, b"", b'{"rows": 5}', b"\xff"])
def test_an_answer_of_another_site_is_no_state(content: bytes, clock: SleepingClock) -> None:
    with pytest.raises(ServiceUnavailable, match="is no service of learner state"):
        client_of(Service(body(content)), clock).get("ann", KEY)


def test_bad_arguments_cost_no_request(clock: SleepingClock) -> None:
    service = Service(answer(200))
    client = client_of(service, clock)
    with pytest.raises(TypeError):
        client.set("ann", "moon", {})
    with pytest.raises(PermissionDenied):
        client.set(None, KEY, {"seen": 4})
    assert list(client.get_many("ann", [])) == []
    assert service.requests == []


def slow(clock: SleepingClock) -> Step:
    """A service that takes as long as a caller waits."""

    def wait(request: httpx2.Request) -> httpx2.Response:
        clock.now += request.extensions["timeout"]["read"]
        raise httpx2.ReadTimeout("nothing came")

    return wait


@pytest.mark.parametrize("total", [0.01, 1.0, 4.9, 7.0, 18.0])
def test_a_caller_waits_no_longer_than_its_deadline(total: float, clock: SleepingClock) -> None:
    service = Service(slow(clock))
    begun = clock.now
    with pytest.raises(ServiceUnavailable):
        client_of(service, clock).within(total).get("ann", KEY)
    assert clock.now - begun <= total + 1e-6
    assert len(service.requests) >= 1


@pytest.mark.parametrize("total", [2.0, 200.0])
def test_an_attempt_keeps_its_share_of_the_time(total: float, clock: SleepingClock) -> None:
    service = Service(answer(200))
    client_of(service, clock).within(total).get("ann", KEY)
    [request] = service.requests
    assert request.extensions["timeout"]["read"] == pytest.approx(total / 4)


def test_a_wait_that_the_deadline_forbids_is_not_begun(clock: SleepingClock) -> None:
    begun, service = clock.now, Service(answer(429, {}, retry_after="60"))
    with pytest.raises(ServiceUnavailable):
        client_of(service, clock).get("ann", KEY)
    assert (clock.now, len(service.requests)) == (begun, 1)


def test_the_wait_that_the_service_asks_for_is_kept(clock: SleepingClock) -> None:
    begun, service = clock.now, Service(answer(503, {}, retry_after="7"), answer(200))
    client_of(service, clock).get("ann", KEY)
    assert clock.now == begun + 7


def test_the_service_is_told_how_long_the_attempt_waits(clock: SleepingClock) -> None:
    service = Service(slow(clock), slow(clock), slow(clock), answer(200))
    client_of(service, clock).within(10.0).get("ann", KEY)
    assert service.headers(wire.TIMEOUT)[:3] == ["2500"] * 3
    # The waits between the attempts have taken some of the last one's time.
    assert 0 < int(service.headers(wire.TIMEOUT)[3]) < 2500


class Sink:
    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []

    def count(self, name: str, value: int, tags: Any) -> None:
        self.seen.append((name.partition(".")[2], dict(tags)))

    def record(self, name: str, value: float, tags: Any) -> None:
        self.seen.append((name.partition(".")[2], dict(tags)))


def test_an_open_breaker_answers_at_once_and_closes_by_itself(clock: SleepingClock) -> None:
    heard: list[State] = []
    sink, service = Sink(), Service(*[fault(httpx2.ConnectError)] * 4, answer(200))
    limits = Limits(attempts=2, failures=4, probe=5.0)
    client = client_of(service, clock, limits, listeners=[lambda _, after: heard.append(after)], metrics=sink)
    for _ in range(4):
        with pytest.raises(ServiceUnavailable):
            client.get("ann", KEY)
    # Two calls of two attempts; then nobody asks.
    assert len(service.requests) == 4
    clock.now += limits.probe
    assert client.get("ann", KEY).state == {"seen": 3}
    assert client.breaker.state is State.CLOSED
    assert heard == [State.OPEN, State.HALF_OPEN, State.CLOSED]
    assert [tags["state"] for name, tags in sink.seen if name == "remote.breaker"] == ["open", "half-open", "closed"]
    failures = [tags for name, tags in sink.seen if name == "remote.failures"]
    assert failures == [{"operation": "rows", "cause": "ConnectError"}] * 4
    assert len([name for name, _ in sink.seen if name == "remote.response_time"]) == 5


def test_a_call_whose_attempts_open_the_breaker_says_what_failed(clock: SleepingClock) -> None:
    client = client_of(Service(fault(httpx2.ReadError)), clock, Limits(attempts=4, failures=2))
    # A write may have been done by one of them, so the words must not be those of a call without attempts.
    with pytest.raises(ServiceUnavailable, match=r"2 attempts.*not asked again, because the last 2") as raised:
        client.set("ann", KEY, {"seen": 4})
    assert isinstance(raised.value.__cause__, httpx2.ReadError)
    with pytest.raises(ServiceUnavailable, match="was not asked, because the last 2 attempts failed"):
        client.set("ann", KEY, {"seen": 4})


def test_an_answer_of_another_site_names_the_address(clock: SleepingClock) -> None:
    client = client_of(Service(lambda _: httpx2.Response(404, content=HTML)), clock)
    with pytest.raises(ServiceUnavailable, match=r"http://service\.test/state/ answered with the status 404"):
        client.get("ann", KEY)


@pytest.mark.parametrize(
    "limits", [{"attempt": 0}, {"total": -1.0}, {"total": float("nan")}, {"attempts": 0}, {"connections": 0}]
)
def test_limits_under_which_no_call_could_succeed_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        Limits(**limits)


def test_errors_of_the_service_itself_are_failures(clock: SleepingClock) -> None:
    client = client_of(Service(problem("InternalError")), clock, Limits(failures=1))
    with pytest.raises(ServiceUnavailable):
        client.get("ann", KEY)
    assert client.breaker.state is State.OPEN


def test_a_fresh_token_is_asked_for_each_attempt(clock: SleepingClock) -> None:
    tokens = iter(["one", "two"])
    service = Service(fault(httpx2.ReadError), answer(200))
    client_of(service, clock, token=lambda: next(tokens)).get("ann", KEY)
    assert service.headers("Authorization") == ["Bearer one", "Bearer two"]


def test_clients_of_several_users_share_the_connections(clock: SleepingClock) -> None:
    service = Service(answer(200))
    client = client_of(service, clock)
    other = client.acting_as("d.e.f")
    for each in (client, other):
        each.get("ann", KEY)
    assert service.headers("Authorization") == ["Bearer a.b.c", "Bearer d.e.f"]
    assert other.breaker is client.breaker


@pytest.mark.parametrize("token", ["", "se cret", "secret\r\nX-Evil: 1", "sécret", b"secret", None])
def test_a_bad_token_is_refused_and_not_shown(token: Any, clock: SleepingClock) -> None:
    service = Service(answer(200))
    with pytest.raises(ValueError, match="the token") as raised:
        client_of(service, clock, token=token).get("ann", KEY)
    assert "cret" not in str(raised.value)
    assert service.requests == []


def test_a_token_is_not_shown_by_repr(clock: SleepingClock) -> None:
    client = client_of(Service(answer(200)), clock, token="secret")
    assert "secret" not in repr(vars(client))


@pytest.mark.parametrize("url", ["lms.example.org", "ftp://lms.example.org", "http://", "https://a/?b=c", 5])
def test_a_bad_address_is_refused(url: Any) -> None:
    with pytest.raises(ValueError, match="base_url must be"):
        RemoteXBlockUserStateClient(url, "token")


def test_large_requests_are_compressed(clock: SleepingClock) -> None:
    service = Service(answer(200))
    client = client_of(service, clock)
    client.set("ann", KEY, {"text": "moon " * 10_000})
    client.set("ann", KEY, {"text": "moon"})
    large, small = service.requests
    assert large.headers["Content-Encoding"] == "gzip"
    assert b"moon moon" in gzip.decompress(large.content)
    assert "Content-Encoding" not in small.headers

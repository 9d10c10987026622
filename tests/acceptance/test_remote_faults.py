"""The remote client and the service over a network with faults: each write once, and no caller waits for long."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from secrets import token_hex

import httpx2
import pytest
from opaque_keys.edx.keys import UsageKey

from tests.acceptance.agreement import assert_agreement
from tests.acceptance.faulty_proxy import RESET_AFTER, RESET_BEFORE, UNAVAILABLE, Fault, FaultyProxy
from tests.acceptance.scene import problems
from tests.acceptance.waiting import wait_until
from tests.over_http.callers import make_host
from tests.over_http.service_process import ServiceProcess
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.remote import Limits, RemoteXBlockUserStateClient, State

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

Connect = Callable[..., RemoteXBlockUserStateClient]
# A machine that is busy with other tests may be slow.
PATIENT = Limits(attempt=30.0, total=60.0, attempts=6, failures=1_000)


@pytest.fixture
def proxy(service: ServiceProcess) -> Iterator[FaultyProxy]:
    with FaultyProxy(service.url) as proxy:
        yield proxy


@pytest.fixture
def token(transactional_db: None) -> str:
    return make_host()


@pytest.fixture
def connect(proxy: FaultyProxy, token: str) -> Iterator[Connect]:
    """Returns a client behind the proxy, with these limits."""
    with ExitStack() as clients:

        def connect(limits: Limits = PATIENT) -> RemoteXBlockUserStateClient:
            return clients.enter_context(RemoteXBlockUserStateClient(f"{proxy.url}/state", token, limits=limits))

        yield connect


@pytest.fixture
def block() -> UsageKey:
    [block] = problems("faults", 1)
    return block


FAULTS = {
    "reset before the request": RESET_BEFORE,
    "reset after the commit": RESET_AFTER,
    "cut in the head of the answer": Fault(passed=20),
    "cut in the body of the answer": Fault(passed=250),
    "unavailable": Fault(answer=UNAVAILABLE),
    "closed without an answer": Fault(answer=b""),
    "late": Fault(delay=0.3),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_write_is_done_once_and_told(
    fault: Fault, connect: Connect, proxy: FaultyProxy, learner: str, block: UsageKey
) -> None:
    client = connect()
    # The same fault for an old connection and for a new one.
    for number in (1, 2):
        proxy.faults.append(fault)
        # With a condition that no longer holds when the write is repeated after its commit.
        client.set(learner, block, {"number": number}, if_revision=number - 1)
        proxy.faults.append(fault)
        found = client.get(learner, block)
        assert (found.state, found.revision) == ({"number": number}, number)
    states = [entry.state for entry in DjangoXBlockUserStateClient().get_history(learner, block)]
    assert states == [{"number": 2}, {"number": 1}]
    assert_agreement()


def test_a_repetition_does_not_undo_a_later_write(
    connect: Connect, proxy: FaultyProxy, learner: str, block: UsageKey
) -> None:
    """The answer to the first attempt is lost, and another writer comes before the second attempt."""
    local = DjangoXBlockUserStateClient()

    def overtake(request: httpx2.Request) -> httpx2.Response:
        try:
            return network.handle_request(request)
        except httpx2.TransportError:
            local.set(learner, block, {"number": 2})
            raise

    network = httpx2.HTTPTransport()
    client = connect()
    client._transport = replace(client._transport, network=httpx2.MockTransport(overtake))
    proxy.faults.append(RESET_AFTER)
    client.set(learner, block, {"number": 1})
    network.close()
    states = [entry.state for entry in local.get_history(learner, block)]
    assert states == [{"number": 2}, {"number": 1}]


def test_an_answer_that_drips_ends_with_the_deadline(
    connect: Connect, proxy: FaultyProxy, learner: str, block: UsageKey
) -> None:
    """Each byte comes in time, and all of them never would."""
    DjangoXBlockUserStateClient().set(learner, block, {"text": "moon " * 100})
    proxy.faults.append(Fault(delay=0.05, drips=True))
    with pytest.raises(ServiceUnavailable):
        connect(Limits(attempt=1.0, total=1.0)).get(learner, block)


def test_a_stream_goes_on_after_each_cut(connect: Connect, proxy: FaultyProxy, learners: list[str]) -> None:
    local = DjangoXBlockUserStateClient()
    blocks = problems("streamed", 100)
    for learner in learners:
        # Random, because the answer is compressed.
        local.set_many(learner, {block: {"text": token_hex(100)} for block in blocks})
    course = blocks[0].context_key
    proxy.faults += [Fault(passed=size) for size in (100, 3_000, 15_000, 40_000, 30_000)]
    client = connect()
    found = [(each.username, each.block_key, each.state) for each in client.iter_all_for_course(course)]
    assert found == [(each.username, each.block_key, each.state) for each in local.iter_all_for_course(course)]
    assert not proxy.faults
    assert len(found) == 800


def test_the_breaker_closes_by_itself_after_an_outage(
    connect: Connect, proxy: FaultyProxy, learner: str, block: UsageKey
) -> None:
    limits = Limits(attempt=30.0, total=60.0, attempts=2, failures=4, probe=0.2)
    client = connect(limits)
    client.set(learner, block, {"number": 1})
    with proxy.refusing():
        for _ in range(10):
            with pytest.raises(ServiceUnavailable):
                client.get(learner, block)
        during = client.breaker.state

    def answers() -> bool:
        with suppress(ServiceUnavailable):
            return client.get(learner, block).state == {"number": 1}
        return False

    # Nobody tells the client that the service is back.
    wait_until(answers)
    assert (during, client.breaker.state) == (State.OPEN, State.CLOSED)


FORKING = """
import os, sys
from opaque_keys.edx.keys import UsageKey
from xblock_user_state.remote import RemoteXBlockUserStateClient

url, token, learner, block = sys.argv[1:]
key = UsageKey.from_string(block)
client = RemoteXBlockUserStateClient(url, token)
client.set(learner, key, {"parent": 0})
child = os.fork()
for number in range(20):
    client.set(learner, key, {"child" if child == 0 else "parent": number})
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_child_after_a_fork_has_connections_of_its_own(
    proxy: FaultyProxy, token: str, learner: str, block: UsageKey
) -> None:
    command = [sys.executable, "-c", FORKING, f"{proxy.url}/state", token, learner, str(block)]
    subprocess.run(command, check=True)
    assert DjangoXBlockUserStateClient().get(learner, block).state == {"parent": 19, "child": 19}
    assert proxy.connections == 2

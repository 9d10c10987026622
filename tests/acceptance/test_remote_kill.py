"""The service killed with ``kill -9`` under load: clients do not notice, and each of their writes is done once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.agreement import assert_agreement
from tests.acceptance.scene import problems
from tests.acceptance.waiting import wait_until
from tests.over_http.callers import make_host
from tests.over_http.service_process import ServiceProcess
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.remote import Limits, RemoteXBlockUserStateClient

pytestmark = pytest.mark.django_db(transaction=True)

CLIENTS = 8
WRITES = 200
KILLS = 3
# No restart takes as long.
PATIENT = Limits(attempt=30.0, total=120.0, attempts=1_000, failures=1_000)


@pytest.fixture
def own_service(tmp_path: Path, child_environment: dict[str, str]) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path, child_environment) as service:
        yield service


def _reached(told: Counter[int], mark: int) -> bool:
    return told.total() >= mark


def test_no_write_is_lost_or_done_twice(own_service: ServiceProcess, learners: list[str]) -> None:
    # Clients share rows. A write that is done twice would come back after another client's.
    owners = [(learner, block) for learner in learners[:2] for block in problems("killed", 2)]
    told: Counter[int] = Counter()
    token = make_host()

    def write(number: int) -> None:
        learner, block = owners[number % len(owners)]
        with RemoteXBlockUserStateClient(own_service.address, token, limits=PATIENT) as client:
            for count in range(WRITES):
                client.set(learner, block, {"last": f"{number}/{count}"})
                told[number] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        writers = [pool.submit(write, number) for number in range(CLIENTS)]
        for kill in range(1, KILLS + 1):
            mark = kill * CLIENTS * WRITES // (KILLS + 1)
            wait_until(partial(_reached, told, mark), moving=told.total)
            own_service.kill()
            own_service.start()
    for writer in writers:
        writer.result()
    assert assert_agreement() == len(owners)
    for index, (learner, block) in enumerate(owners):
        entries = list(DjangoXBlockUserStateClient().get_history(learner, block))
        written = [str((entry.state or {})["last"]) for entry in reversed(entries)]
        numbers = range(index, CLIENTS, len(owners))
        assert Counter(written) == Counter(f"{number}/{count}" for number in numbers for count in range(WRITES))
        for number in numbers:
            own = [value for value in written if value.startswith(f"{number}/")]
            assert own == [f"{number}/{count}" for count in range(WRITES)]

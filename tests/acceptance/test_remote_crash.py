"""The service dies by ``kill -9`` between a commit and its answer: the repetition gets the first answer."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from xblock.fields import Scope

from tests.acceptance.agreement import assert_agreement
from tests.acceptance.scene import problems
from tests.over_http.callers import make_host
from tests.over_http.service_process import ServiceProcess
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.remote import Limits, RemoteXBlockUserStateClient

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

# No restart takes as long.
PATIENT = Limits(attempt=30.0, total=120.0, attempts=1_000, failures=1_000)


@pytest.fixture
def own_service(tmp_path: Path, child_environment: dict[str, str]) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path, child_environment) as service:
        yield service


def test_a_write_whose_answer_was_lost_in_a_crash_is_done_once(own_service: ServiceProcess, learner: str) -> None:
    [block] = problems("crashed", 1)
    local = DjangoXBlockUserStateClient()

    def write() -> int:
        """Return the revision that the service answers."""
        with client.batch(learner) as batch:
            batch.set(block, {"number": 1})
        [row] = batch.written[Scope.user_state].values()
        return row.revision

    with (
        RemoteXBlockUserStateClient(own_service.address, make_host(), limits=PATIENT) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        own_service.die_before_next_answer()
        writing = pool.submit(write)
        assert own_service.ended() == -signal.SIGKILL
        # The write is committed, and its caller still waits. Another one comes before the repetition.
        assert local.get(learner, block).state == {"number": 1}
        local.set(learner, block, {"number": 2})
        own_service.start()
        assert writing.result() == 1
    entries = [(entry.revision, entry.state) for entry in local.get_history(learner, block)]
    assert entries == [(2, {"number": 2}), (1, {"number": 1})]
    assert assert_agreement() == 1

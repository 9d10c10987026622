"""Readers beside writers: no error, no torn state."""

from __future__ import annotations

import pytest

from tests.acceptance import workers
from tests.acceptance.agreement import assert_agreement
from tests.acceptance.processes import Crew, Worker, listen
from tests.acceptance.scene import problems, workload
from xblock_user_state.client import DjangoXBlockUserStateClient

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def test_readers_see_whole_calls_and_a_history_without_gaps(crew: Crew, learner: str) -> None:
    blocks = problems("read", 10)
    rounds = workload(servers=100, sqlite=50)
    DjangoXBlockUserStateClient().set_many(learner, {block: {"number": 1} for block in blocks})
    readers = [
        crew.start(workers.read_states, learner, blocks),
        crew.start(workers.read_history, learner, blocks[0], "number"),
        crew.start(workers.check_agreement),
    ]
    writer = crew.start(workers.count_up, learner, blocks, "number", 2)
    wait_for_readers(readers, [writer], rounds)
    for reader in readers:
        reader.stop()
    calls = writer.stop()
    assert len(list(DjangoXBlockUserStateClient().get_history(learner, blocks[0]))) == 1 + len(calls)
    assert assert_agreement() == len(blocks)


def test_iteration_gives_each_learner_once_while_they_write(crew: Crew, learners: list[str]) -> None:
    [block] = problems("read", 1)
    for learner in learners:
        DjangoXBlockUserStateClient().set(learner, block, {"number": 0, "again": 0})
    reader = crew.start(workers.read_all_learners, learners, block, 3)
    writers = [crew.start(workers.count_up_twice, learner, block) for learner in learners]
    wait_for_readers([reader], writers, workload(servers=40, sqlite=20))
    for worker in (reader, *writers):
        worker.stop()
    assert assert_agreement() == len(learners)


def wait_for_readers(readers: list[Worker], writers: list[Worker], rounds: int) -> None:
    """Return when each writer has written this often, and each reader has read a few times beside them.

    The writers write for as long as the readers need: which of them is faster depends on the machine.
    """
    while any(len(writer.said) < rounds for writer in writers) or any(len(reader.said) < 4 for reader in readers):
        listen([*readers, *writers], until=None)

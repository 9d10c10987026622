"""Readers beside writers: no error, no torn state."""

from __future__ import annotations

import pytest

from tests.acceptance import workers
from tests.acceptance.agreement import assert_agreement
from tests.acceptance.processes import Crew
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
    calls = [{block: {"number": number} for block in blocks} for number in range(2, rounds + 2)]
    writer = crew.start(workers.set_many, learner, calls)
    while not writer.is_finished:
        for worker in (writer, *readers):
            worker.listen(0.01)
    assert all(len(reader.stop()) > 3 for reader in readers)
    assert len(list(DjangoXBlockUserStateClient().get_history(learner, blocks[0]))) == rounds + 1
    assert assert_agreement() == len(blocks)


def test_iteration_gives_each_learner_once_while_they_write(crew: Crew, learners: list[str]) -> None:
    [block] = problems("read", 1)
    for learner in learners:
        DjangoXBlockUserStateClient().set(learner, block, {"number": 0, "again": 0})
    reader = crew.start(workers.read_all_learners, learners, block, 3)
    calls = [{block: {"number": number, "again": number}} for number in range(1, workload(servers=40, sqlite=20))]
    writers = [crew.start(workers.set_many, learner, calls) for learner in learners]
    while not all(writer.is_finished for writer in writers):
        for worker in (*writers, reader):
            worker.listen(0.01)
    assert len(reader.stop()) > 3
    assert assert_agreement() == len(learners)

"""Many processes write the same blocks: new blocks, and in any order."""

from __future__ import annotations

import random

import pytest
from django.db import connection
from opaque_keys.edx.keys import UsageKey
from opaque_keys.edx.locator import CourseLocator

from tests.acceptance import workers
from tests.acceptance.agreement import assert_agreement
from tests.acceptance.processes import Crew, finish
from tests.acceptance.scene import problems, workload
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import Block, StudentModule

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

WRITERS = 8


def _new_blocks_of_each_round() -> list[list[UsageKey]]:
    """Return blocks without any state; in every other round their course is new too."""
    return [problems(f"new-{number}", 20, CourseLocator("Astro", "A101", f"{number // 2}")) for number in range(10)]


def _write_in_step(crew: Crew, writers: list[str], rounds: list[list[UsageKey]]) -> None:
    """Let each writer set a separate field in all blocks of a round, all at the same time."""
    hired = crew.hire(len(writers))
    for number, (worker, username) in enumerate(zip(hired, writers, strict=True)):
        calls = [{block: {f"{number}": username} for block in blocks} for blocks in rounds]
        worker.start(workers.set_many_in_step, username, calls)
    for _ in rounds:
        for worker in hired:
            worker.wait_for_pause()
        for worker in hired:
            worker.resume()
    finish(*hired)


def test_one_learner_s_new_blocks_are_created_by_all_at_once(crew: Crew, learner: str) -> None:
    rounds = _new_blocks_of_each_round()
    _write_in_step(crew, [learner] * WRITERS, rounds)
    blocks = [block for blocks in rounds for block in blocks]
    found = list(DjangoXBlockUserStateClient().get_many(learner, blocks))
    assert [one.block_key for one in found] == blocks
    assert all(one.state == {str(number): learner for number in range(WRITERS)} for one in found)
    assert set(StudentModule.objects.values_list("revision", flat=True)) == {WRITERS}
    assert assert_agreement() == len(blocks) == Block.objects.count()


def test_all_learners_meet_new_blocks_at_once(crew: Crew, learners: list[str]) -> None:
    rounds = _new_blocks_of_each_round()
    _write_in_step(crew, learners, rounds)
    blocks = [block for blocks in rounds for block in blocks]
    for number, learner in enumerate(learners):
        found = list(DjangoXBlockUserStateClient().get_many(learner, blocks))
        assert [one.state for one in found] == [{str(number): learner}] * len(blocks)
    assert assert_agreement() == len(blocks) * len(learners)
    assert Block.objects.count() == len(blocks)


def test_writers_of_the_same_blocks_in_opposite_orders(crew: Crew, learner: str) -> None:
    blocks = problems("both", 50)
    rounds = workload(servers=40, sqlite=20)
    DjangoXBlockUserStateClient().set_many(learner, {block: {"last": "nobody"} for block in blocks})
    deadlocks = _deadlocks()
    orders = {"forward": blocks, "backward": blocks[::-1]}
    calls = {
        name: [{block: {"last": [name, number]} for block in order} for number in range(rounds)]
        for name, order in orders.items()
    }
    crew.run([(workers.set_many, learner, own) for own in calls.values()])
    states = [one.state for one in DjangoXBlockUserStateClient().get_many(learner, blocks)]
    assert states == states[:1] * len(blocks)
    assert states[0] in [{"last": [name, rounds - 1]} for name in orders]
    assert set(StudentModule.objects.values_list("revision", flat=True)) == {2 * rounds + 1}
    assert assert_agreement() == len(blocks)
    assert _deadlocks() == deadlocks


def test_writers_of_overlapping_choices_of_blocks(crew: Crew, learner: str) -> None:
    blocks = problems("some", 50)
    DjangoXBlockUserStateClient().set_many(learner, {block: {"first": 0} for block in blocks})
    deadlocks = _deadlocks()
    choice = random.Random(2015)
    calls = [
        [{block: {f"{writer}-{number}": 1} for block in choice.sample(blocks, 30)} for number in range(8)]
        for writer in range(WRITERS)
    ]
    crew.run([(workers.set_many, learner, own) for own in calls])
    expected = {block: {"first": 0} for block in blocks}
    for states in (states for own in calls for states in own):
        for block, fields in states.items():
            expected[block].update(fields)
    found = {one.block_key: one.state for one in DjangoXBlockUserStateClient().get_many(learner, blocks)}
    assert found == expected
    assert assert_agreement() == len(blocks)
    assert _deadlocks() == deadlocks


def _deadlocks() -> int:
    """Count PostgreSQL's deadlocks: each delays every waiting writer by a second, so writers must not cause any.

    The other vendors detect deadlocks at once.
    """
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        [(found,)] = cursor.fetchall()
    return int(found)

"""Calls inside a caller's ``atomic()`` commit with it or raise; none is lost silently."""

from __future__ import annotations

import random
import time

import pytest
from django.db import connection
from opaque_keys.edx.keys import UsageKey
from opaque_keys.edx.locator import CourseLocator

from tests import citus
from tests.acceptance import workers
from tests.acceptance.agreement import assert_agreement
from tests.acceptance.messages import Pause
from tests.acceptance.processes import Crew, finish
from tests.acceptance.scene import problems
from tests.acceptance.waiting import wait_until
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import BlockKey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

needs_row_locks = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite lets one transaction write at a time"
)
LEVELS = ["READ COMMITTED", "REPEATABLE READ"]

Calls = list[list[workers.States]]


def _set(crew: Crew, learner: str, isolation: str, calls: Calls) -> set[tuple[BlockKey, str]]:
    """Let each worker set its calls' fields in a transaction; return the blocks and fields that were committed."""
    said = crew.run([(workers.set_in_transactions, learner, isolation, own) for own in calls])
    return {
        (block, name)
        for own, outcomes in zip(calls, said, strict=True)
        for states, (_, is_committed) in zip(own, outcomes, strict=True)
        for block, fields in states.items()
        for name in fields
        if is_committed
    }


def _found(learner: str, blocks: list[UsageKey]) -> set[tuple[BlockKey, str]]:
    states = DjangoXBlockUserStateClient().get_many(learner, blocks)
    return {(one.block_key, name) for one in states for name in one.state or {}}


@pytest.mark.parametrize("isolation", LEVELS)
def test_a_transaction_is_committed_wholly_or_refused(crew: Crew, learner: str, isolation: str) -> None:
    blocks = problems("transaction", 4)
    DjangoXBlockUserStateClient().set_many(learner, {block: {"first": 1} for block in blocks})
    choice = random.Random(2012)
    calls: Calls = [
        [{block: {f"{writer}-{number}": 1} for block in choice.sample(blocks, 2)} for number in range(6)]
        for writer in range(3)
    ]
    committed = _set(crew, learner, isolation, calls)
    assert committed
    assert _found(learner, blocks) == committed | {(block, "first") for block in blocks}
    assert assert_agreement() == len(blocks)


@pytest.mark.parametrize("isolation", LEVELS)
def test_new_blocks_in_transactions_of_several_callers(crew: Crew, learner: str, isolation: str) -> None:
    rounds = [problems("new", 3, CourseLocator("Astro", "A101", f"{number}")) for number in range(5)]
    calls: Calls = [
        [{block: {f"{writer}": 1} for block in blocks[writer:] + blocks[:writer]} for blocks in rounds]
        for writer in range(3)
    ]
    committed = _set(crew, learner, isolation, calls)
    assert committed
    assert _found(learner, [block for blocks in rounds for block in blocks]) == committed
    assert_agreement()


@needs_row_locks
def test_of_two_transactions_in_a_deadlock_one_is_refused(crew: Crew, learner: str) -> None:
    here, there = problems("crossed", 2)
    DjangoXBlockUserStateClient().set_many(learner, {here: {"first": 1}, there: {"first": 1}})
    one = crew.start(workers.transact, learner, [{here: {"one": 1}}, Pause(), {there: {"one": 1}}])
    other = crew.start(workers.transact, learner, [{there: {"other": 1}}, Pause(), {here: {"other": 1}}])
    for worker in (one, other):
        worker.wait_for_pause()
    for worker in (one, other):
        worker.resume()
    outcomes = {"one": finish(one)[0][-1], "other": finish(other)[0][-1]}
    assert sorted(outcomes.values()) == [False, True]
    expected = {"first": 1, **{name: 1 for name, is_committed in outcomes.items() if is_committed}}
    assert [one.state for one in DjangoXBlockUserStateClient().get_many(learner, [here, there])] == [expected] * 2
    assert assert_agreement() == 2


@needs_row_locks
@pytest.mark.parametrize("isolation", LEVELS)
@pytest.mark.parametrize("answer", ["old", "newer"])
def test_a_state_changed_since_the_transaction_s_snapshot(
    crew: Crew, learner: str, isolation: str, answer: str
) -> None:
    [block] = problems("looked-at", 1)
    client = DjangoXBlockUserStateClient()
    client.set(learner, block, {"answer": "old"})
    worker = crew.start(workers.set_after_a_look, learner, isolation, block, {"answer": answer})
    worker.wait_for_pause()
    client.set(learner, block, {"answer": "new", "other": 1})
    worker.resume()
    [[is_committed]] = finish(worker)
    last = answer if is_committed else "new"
    assert client.get(learner, block).state == {"answer": last, "other": 1}
    assert assert_agreement() == 1


@needs_row_locks
def test_registering_blocks_of_one_course_does_not_tie_callers_together(crew: Crew, learners: list[str]) -> None:
    shared, other, own, *known = problems("registered", 1000)
    DjangoXBlockUserStateClient().set_many(learners[0], {block: {"first": 1} for block in known})
    first = crew.start(workers.transact, learners[1], [{shared: {"a": 1}}, Pause()])
    second = crew.start(workers.transact, learners[2], [{other: {"b": 1}}, Pause()])
    first.wait_for_pause()
    second.wait_for_pause()
    # This worker meets the first worker's new block, then the second worker's.
    third = crew.start(workers.transact, learners[3], [{shared: {"c": 1}, own: {"c": 1}}, {other: {"c": 1}}])
    wait_until(_one_waits_for_a_lock)
    first.resume()
    finish(first)
    third.receive()
    second.resume()
    assert [said[-1] for said in finish(first, second, third)] == [True, True, True]
    assert_agreement()


def _one_waits_for_a_lock() -> bool:
    waiting = {
        "citus": "SELECT COUNT(*) FROM citus_lock_waits",
        "postgresql": "SELECT COUNT(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()",
        "mysql": "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    }
    # MariaDB reads the locks anew only if nobody has asked for a tenth of a second.
    time.sleep(0.15)
    with connection.cursor() as cursor:
        cursor.execute(waiting[citus.DIALECT])
        [(found,)] = cursor.fetchall()
    return bool(found)

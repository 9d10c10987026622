"""Writers killed with ``kill -9`` at random moments."""

from __future__ import annotations

import random
from itertools import count

import pytest
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from tests.acceptance import workers
from tests.acceptance.agreement import assert_agreement
from tests.acceptance.processes import Crew
from tests.acceptance.scene import problems
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import Preferences, StudentModule, UserInfo, UserStateSummary

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

ROUNDS = 50


def _number_in_all(learner: str, blocks: list[UsageKey], field: str) -> int:
    """Return the field's number, which must be the same in all blocks."""
    found = [(one.state or {}).get(field, 0) for one in DjangoXBlockUserStateClient().get_many(learner, blocks)]
    assert found == found[:1] * len(found)
    return found[0] if found else 0


def test_a_killed_writer_leaves_whole_calls_only(crew: Crew, learner: str) -> None:
    blocks = problems("killed", 5)
    number = 0
    for _ in range(ROUNDS):
        victim = crew.start(workers.count_up, learner, blocks, "victim", number + 1)
        victim.listen(random.uniform(0, 0.04))
        acknowledged = max([number, *victim.kill()])
        number = _number_in_all(learner, blocks, "victim")
        # The last call may have been committed just before the kill, too late to be acknowledged.
        assert number in (acknowledged, acknowledged + 1)
        assert assert_agreement() in (0, len(blocks))


def test_a_killed_writer_does_not_disturb_others(crew: Crew, learner: str) -> None:
    blocks = problems("killed", 5)
    survivor = crew.start(workers.count_up, learner, blocks, "survivor", 1)
    for _ in range(ROUNDS):
        victim = crew.start(workers.count_up, learner, blocks, "victim", 1)
        victim.listen(random.uniform(0, 0.04))
        victim.kill()
        survivor.listen(0)
    assert survivor.stop()[-1] == _number_in_all(learner, blocks, "survivor")
    assert assert_agreement() == len(blocks)


def test_a_batch_killed_after_any_statement_is_not_there_in_any_scope(crew: Crew, learner: str) -> None:
    [block] = problems("batch", 1)
    workers.set_in_all_scopes(DjangoXBlockUserStateClient(), learner, block, "before", 0.0)
    for statement in count(1):
        worker = crew.start(workers.batch_until_death, learner, block, "after", statement)
        if worker.wait_for_death():
            break
        assert _marks(learner, block) == ["before"] * 4
        assert StudentModule.objects.get().grade == 0.0
        assert assert_agreement() == 1
    assert statement > 4 * 2, "each scope is read and written"
    assert _marks(learner, block) == ["after"] * 4


def test_a_first_batch_killed_after_any_statement_is_not_there_in_any_scope(crew: Crew, learner: str) -> None:
    [block] = problems("batch", 1)
    for statement in count(1):
        worker = crew.start(workers.batch_until_death, learner, block, "after", statement)
        if worker.wait_for_death():
            break
        assert not any(model.objects.exists() for model in (StudentModule, Preferences, UserInfo, UserStateSummary))
    assert _marks(learner, block) == ["after"] * 4


def _marks(learner: str, block: UsageKey) -> list[str]:
    client = DjangoXBlockUserStateClient()
    owners = (
        (block, Scope.user_state),
        ("problem", Scope.preferences),
        (None, Scope.user_info),
        (block, Scope.user_state_summary),
    )
    return [(client.get(learner, key, scope).state or {})["mark"] for key, scope in owners]

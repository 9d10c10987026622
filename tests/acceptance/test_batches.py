"""Concurrent batches of several processes that write the same rows."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from xblock.fields import Scope

from tests.acceptance import workers
from tests.acceptance.agreement import assert_agreement
from tests.acceptance.processes import Crew
from tests.acceptance.scene import problems, workload
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import Preferences, StudentModule, UserInfo, UserStateSummary

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

[BLOCK] = problems("poll", 1)


def test_racing_batches_of_a_learner_commit_in_all_scopes_or_none(crew: Crew, learner: str) -> None:
    writers, rounds = 6, workload(servers=15, sqlite=8)
    marks = [[f"{writer}-{number}" for number in range(rounds)] for writer in range(writers)]
    crew.run([(workers.batches, learner, BLOCK, own) for own in marks])
    rows = [model.objects.get() for model in (StudentModule, Preferences, UserInfo, UserStateSummary)]
    # One row of the learner serializes the batches, so all scopes must show the same batch.
    assert len({row.state for row in rows}) == 1
    assert {row.revision for row in rows} == {writers * rounds}
    assert assert_agreement() == 1


def test_all_votes_of_all_learners_survive_in_one_summary(crew: Crew) -> None:
    writers, votes = 8, workload(servers=25, sqlite=10)
    names = [[f"voter-{writer}-{number}" for number in range(votes)] for writer in range(writers)]
    user = get_user_model()
    user.objects.bulk_create(user(username=name) for own in names for name in own)
    crew.run([(workers.vote, own, BLOCK) for own in names])
    everybody = [name for own in names for name in own]
    summary = DjangoXBlockUserStateClient().get(None, BLOCK, Scope.user_state_summary)
    assert summary.state == dict.fromkeys(everybody, "yes")
    assert UserStateSummary.objects.get().revision == len(everybody)
    voted = {one.username for one in DjangoXBlockUserStateClient().iter_all_for_block(BLOCK)}
    assert voted == set(everybody)
    assert assert_agreement() == len(everybody)

"""Permanent deletion while others write: the history goes with its state."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from tests.acceptance import workers
from tests.acceptance.agreement import assert_agreement
from tests.acceptance.processes import Crew
from tests.acceptance.scene import problems
from xblock_user_state.models import StudentModule

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

BLOCKS = problems("deleted", 5)
ROUNDS = 20


def test_rows_deleted_while_they_are_written_take_their_history_along(crew: Crew, learner: str) -> None:
    writer = crew.start(workers.count_up, learner, BLOCKS, "number", 1)
    for _ in range(ROUNDS):
        writer.receive()
        StudentModule.objects.all().delete()
        writer.listen(0)
        assert_agreement()
    writer.stop()
    assert assert_agreement() in (0, len(BLOCKS))


def test_a_learner_deleted_while_writing_takes_the_history_along(crew: Crew) -> None:
    for number in range(ROUNDS):
        user = get_user_model().objects.create_user(f"leaving-{number}")
        writer = crew.start(workers.count_up, user.get_username(), BLOCKS, "number", 1)
        writer.receive()
        user.delete()
        writer.kill()
        assert_agreement()

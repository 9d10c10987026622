"""Many processes write one learner's state in one block."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.acceptance import workers
from tests.acceptance.agreement import assert_agreement
from tests.acceptance.processes import Crew
from tests.acceptance.scene import problems, workload
from tests.factories import make_block
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule, StudentModuleHistory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

WRITERS = 8
[BLOCK] = problems("shared", 1)


def _names(writer: int, count: int) -> list[str]:
    return [f"{writer}-{number}" for number in range(count)]


def test_all_fields_of_all_writers_survive(crew: Crew, learner: str) -> None:
    names = [_names(writer, workload(servers=200, sqlite=50)) for writer in range(WRITERS)]
    crew.run([(workers.set_fields, learner, BLOCK, own) for own in names])
    expected = {name: name for own in names for name in own}
    assert DjangoXBlockUserStateClient().get(learner, BLOCK).state == expected
    assert StudentModule.objects.get().revision == len(expected)
    assert assert_agreement() == 1
    _assert_each_entry_has_one_more_field(learner, len(expected))


def _assert_each_entry_has_one_more_field(learner: str, changes: int) -> None:
    newest_first = [entry.state or {} for entry in DjangoXBlockUserStateClient().get_history(learner, BLOCK)]
    assert [len(state) for state in newest_first] == list(range(changes, 0, -1))
    for newer, older in pairwise(newest_first):
        assert older.items() < newer.items()


def test_all_fields_survive_where_no_history_is_recorded(crew: Crew, learner: str) -> None:
    """Without a history, whose primary key rejects a duplicate revision, only the compare-and-set protects the row."""
    block = make_block("shared", "poll")
    names = [_names(writer, 25) for writer in range(WRITERS)]
    crew.run([(workers.set_fields, learner, block, own) for own in names])
    expected = {name: name for own in names for name in own}
    assert DjangoXBlockUserStateClient().get(learner, block).state == expected
    assert StudentModule.objects.get().revision == len(expected)
    assert not StudentModuleHistory.objects.exists()


def test_all_fields_survive_where_the_host_has_chosen_another_isolation(crew: Crew, learner: str) -> None:
    """On PostgreSQL at REPEATABLE READ, a lock does not guarantee that the next attempt wins."""
    names = [_names(writer, 10) for writer in range(2 * WRITERS)]
    crew.run([(workers.set_fields_at, "REPEATABLE READ", learner, BLOCK, own) for own in names])
    expected = {name: name for own in names for name in own}
    assert DjangoXBlockUserStateClient().get(learner, BLOCK).state == expected
    assert assert_agreement() == 1


def test_the_last_commit_of_one_field_wins(crew: Crew, learner: str) -> None:
    calls = [[{BLOCK: {"answer": [writer, number]}} for number in range(20)] for writer in range(WRITERS)]
    crew.run([(workers.set_many, learner, own) for own in calls])
    client = DjangoXBlockUserStateClient()
    answers = [entry.state["answer"] for entry in client.get_history(learner, BLOCK) if entry.state]
    assert client.get(learner, BLOCK).state == {"answer": answers[0]}
    for writer in range(WRITERS):
        assert [number for who, number in reversed(answers) if who == writer] == list(range(20))
    assert assert_agreement() == 1


def test_neither_score_nor_state_reverts_the_other(crew: Crew, learner: str) -> None:
    rounds = workload(servers=100, sqlite=40)
    numbers = list(range(1, rounds + 1))
    said = crew.run(
        [
            (workers.set_many, learner, [{BLOCK: {"attempts": number}} for number in numbers]),
            (workers.set_scores, learner, BLOCK, numbers),
            (workers.set_fields, learner, BLOCK, _names(0, rounds)),
        ]
    )
    module = StudentModule.objects.get()
    assert module.revision == sum(map(len, said))
    assert (module.grade, module.max_grade) == (rounds, 1000)
    _assert_never_back(learner)
    assert assert_agreement() == 1


def _assert_never_back(learner: str) -> None:
    """Assert that attempts and score only grow, in the history too."""
    entries = StudentModuleHistory.objects.order_by("-revision")
    grades = [grade or 0 for grade in entries.values_list("grade", flat=True)]
    states = [entry.state or {} for entry in DjangoXBlockUserStateClient().get_history(learner, BLOCK)]
    attempts = [state.get("attempts", 0) for state in states]
    assert grades == sorted(grades, reverse=True)
    assert attempts == sorted(attempts, reverse=True)

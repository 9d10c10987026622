"""Sizes of the history of real states, written by the real `problem` block: the measurements of `bench`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from random import Random

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import Sum
from django.db.models.functions import Length
from django.test import override_settings

from bench.site.recordings import FIVE_INPUTS, PROBLEMS, TEN_INPUTS, Problem, Revision, record
from bench.workloads import history_size
from bench.workloads.history_size import Crowd, Scenario
from tests.factories import make_learners
from tests.integration.rows import need_rows_here
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.state import codec

pytestmark = [
    pytest.mark.django_db,
    # The blocks' packages use many deprecated names.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _problems_can_run() -> Iterator[None]:
    """Settings of the demo that problems need."""
    with override_settings(
        ROOT_URLCONF="demo.host.urls",
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "xblocks_contrib.problem.capa"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    ):
        yield


def _record(problem: Problem) -> list[Revision]:
    [ada] = make_learners("ada")
    return record(problem, ada, Random(1))


@cache
def _recorded(problem: Problem) -> list[Revision]:
    """Return a recording without its rows in the database. Recording takes seconds, so tests share it."""
    return _record(problem)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_a_problem_keeps_lists_over_all_attempts(problem: Problem) -> None:
    first, *attempts = _recorded(problem)
    assert (first.grade, first.state.get("attempts")) == (None, None)
    assert [revision.state["attempts"] for revision in attempts] == [*range(1, problem.attempts + 1)]
    assert {revision.max_grade for revision in attempts} == {len(problem.inputs)}
    for name in ("student_answers_history", "correct_map_history", "score_history"):
        assert [len(revision.state[name]) for revision in attempts] == [*range(1, problem.attempts + 1)]
    assert all(len(revision.state["student_answers"]) == len(problem.inputs) for revision in attempts)
    assert all(one.state["student_answers"] != other.state["student_answers"] for one, other in pairwise(attempts))


@pytest.mark.parametrize(
    ("problem", "times"), [(TEN_INPUTS, 60), (FIVE_INPUTS, 150)], ids=[TEN_INPUTS.name, FIVE_INPUTS.name]
)
def test_deltas_of_real_states_are_many_times_smaller(problem: Problem, times: int) -> None:
    recorded = _record(problem)
    full = sum(len(codec.encode(revision.state)) for revision in recorded)
    stored = StudentModuleHistory.objects.aggregate(bytes=Sum(Length("body")))["bytes"]
    assert stored * times <= full


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("problem", "crowd", "times", "times_compressed"),
    [(TEN_INPUTS, Crowd(learners=8, problems=5), 8, 3), (FIVE_INPUTS, Crowd(learners=4, problems=2), 20, 5)],
    ids=[TEN_INPUTS.name, FIVE_INPUTS.name],
)
def test_the_table_and_its_indexes_are_many_times_smaller(
    problem: Problem, crowd: Crowd, times: int, times_compressed: int
) -> None:
    need_rows_here()
    recorded = _recorded(problem)
    measured = history_size._measure(Scenario(problem, recorded=1, crowd=crowd), [recorded])
    sizes = {stored_as: one["table"] + one["indexes"] for stored_as, one in measured.items()}
    # PostgreSQL compresses full copies by default.
    if "uncompressed" in sizes:
        assert sizes["delta"] * times <= sizes["uncompressed"]
        assert sizes["delta"] * times_compressed <= sizes["plain"]
    else:
        assert sizes["delta"] * times <= sizes["plain"]
    assert sizes["delta"] * times_compressed <= sizes["old"]


def test_a_replay_leaves_what_was_recorded() -> None:
    recorded = _recorded(TEN_INPUTS)
    get_user_model().objects.all().delete()

    history_size.replay(Crowd(learners=2, problems=3), [recorded])

    modules = StudentModule.objects.select_related("block__context")
    assert len(modules) == 6
    for module in modules:
        key = history_size.COURSE.make_usage_key("problem", module.block.usage_key.rpartition("@")[2])
        username = get_user_model().objects.get(pk=module.student_id).get_username()
        entries = reversed([*DjangoXBlockUserStateClient().get_history(username, key)])
        assert [Revision(entry.state, *(entry.score or (None, None))[:2]) for entry in entries] == recorded


@pytest.mark.django_db(transaction=True)
def test_every_way_to_store_it_is_measured_with_all_entries() -> None:
    need_rows_here()
    recorded = _recorded(TEN_INPUTS)
    crowd = Crowd(learners=3, problems=2)
    measured = history_size._measure(Scenario(TEN_INPUTS, recorded=1, crowd=crowd), [recorded])
    assert {"delta", "plain", "old"} <= measured.keys()
    assert {one["entries"] for one in measured.values()} == {6 * len(recorded)}
    assert measured["plain"]["states"] == 6 * sum(len(codec.encode(revision.state)) for revision in recorded)
    assert all(one["table"] > measured["delta"]["states"] for one in measured.values())
    assert measured["old"]["indexes"] > 0

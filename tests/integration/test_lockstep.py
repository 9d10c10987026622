"""Two clients in lockstep: the same random operations always give the same results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.block_types import BlockTypeKeyV1
from opaque_keys.edx.locator import CourseLocator
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_learners
from tests.golden_values import is_same
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.reading import decode
from xblock_user_state.interface import Conflict, DoesNotExist, XBlockUserState, XBlockUserStateClient
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.models import Block, LearningContext, StudentModule, StudentModuleHistory

OTHER_COURSE = CourseLocator("Zoo", "Z1", "2026")
BLOCKS = [
    make_block(),
    make_block("Stars"),
    make_block(course=COURSE.for_branch("draft")),
    make_block("moon", "video"),
    make_block("moon", course=OTHER_COURSE),
    AsideUsageKeyV2(make_block(), "notes"),
]
KEYS = {
    Scope.user_state: BLOCKS,
    Scope.user_state_summary: BLOCKS,
    Scope.preferences: ["problem", "Problem", BlockTypeKeyV1("xblock.asides-v1", "problem")],
    Scope.user_info: [None],
}
SCOPES = st.sampled_from([Scope.user_state, *KEYS])
LEARNERS = st.sampled_from(["ann", "bob"])
NAMES = st.sampled_from(["a", "b", "c"])
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [0, 1, 1.0, True, None, "", "é\x00\ud800", [], {"x": [1]}, (1, 2), float("nan"), 2**70]
)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=3)
SOME_NAMES = st.one_of(st.none(), st.lists(NAMES, max_size=3))
POINTS = st.sampled_from([(None, None), (0, 1), (1, 1), (0.1, None), (2, 3.5), (None, 2)])
REVISIONS = st.sampled_from([0, 1, 1, 2, 3])
SIZES = st.sampled_from([1, 2, 3, None])


def in_some_scope(*of_a_key: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Scope, list[tuple[Any, ...]]]]:
    """Return a scope and up to four of its keys, each with values drawn from the other strategies."""
    return SCOPES.flatmap(
        lambda scope: st.tuples(
            st.just(scope), st.lists(st.tuples(st.sampled_from(KEYS[scope]), *of_a_key), max_size=4)
        )
    )


OPERATIONS = st.lists(
    st.one_of(
        in_some_scope(FIELDS).map(lambda drawn: ("set", *drawn)),
        in_some_scope(SOME_NAMES).map(lambda drawn: ("delete", *drawn)),
        st.lists(st.tuples(st.sampled_from(BLOCKS), POINTS), max_size=2).map(lambda drawn: ("score", None, drawn)),
    ),
    max_size=5,
)


class Clients(RuleBasedStateMachine):
    """Applies each operation to both clients, in a transaction that is rolled back at the end."""

    @initialize()
    def start(self) -> None:
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        make_learners("ann", "bob")
        self.django: XBlockUserStateClient = DjangoXBlockUserStateClient()
        self.memory: XBlockUserStateClient = InMemoryXBlockUserStateClient()

    def teardown(self) -> None:
        if hasattr(self, "transaction"):
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)

    def both(self, call: Callable[[XBlockUserStateClient], object]) -> None:
        call(self.django)
        call(self.memory)

    def compare(self, call: Callable[[XBlockUserStateClient], list[XBlockUserState]], *, ordered: bool = True) -> None:
        """Compare the results of both clients, without the times."""
        found = [
            [(item.username, item.block_key, item.state, item.scope, item.revision) for item in call(client)]
            for client in (self.django, self.memory)
        ]
        if not ordered:
            found = [sorted(items, key=str) for items in found]
        assert is_same(*found), found

    @rule(learner=LEARNERS, drawn=in_some_scope(FIELDS))
    def set_many(self, learner: str, drawn: tuple[Scope, list[tuple[Any, Any]]]) -> None:
        scope, items = drawn
        self.both(lambda client: client.set_many(learner, dict(items), scope))

    @rule(learner=LEARNERS, drawn=in_some_scope(FIELDS, REVISIONS))
    def set_many_conditionally(self, learner: str, drawn: tuple[Scope, list[tuple[Any, Any, int]]]) -> None:
        scope, items = drawn
        revisions = {key: revision for key, _, revision in items}

        def write(client: XBlockUserStateClient) -> list[tuple[Any, ...]]:
            try:
                client.set_many(learner, {key: fields for key, fields, _ in items}, scope, if_revisions=revisions)
            except Conflict as conflict:
                return [*conflict.rows]
            except ValueError as error:
                return [(str(error),)]
            return []

        assert write(self.django) == write(self.memory)

    @rule(learner=LEARNERS, key=st.sampled_from(BLOCKS), points=POINTS, revision=REVISIONS)
    def set_score_conditionally(
        self, learner: str, key: Any, points: tuple[float | None, float | None], revision: int
    ) -> None:
        def write(client: XBlockUserStateClient) -> list[tuple[Any, ...]]:
            try:
                client.set_score(learner, key, *points, if_revision=revision)
            except Conflict as conflict:
                return [*conflict.rows]
            return []

        assert write(self.django) == write(self.memory)

    @rule(learner=LEARNERS, drawn=in_some_scope())
    def get_encoded(self, learner: str, drawn: tuple[Scope, list[tuple[Any]]]) -> None:
        scope, items = drawn
        found = [client.get_encoded(learner, [key for (key,) in items], scope) for client in (self.django, self.memory)]
        assert found[0] == found[1]

    @rule(learner=LEARNERS, drawn=in_some_scope(), names=SOME_NAMES)
    def delete_many(self, learner: str, drawn: tuple[Scope, list[tuple[Any]]], names: list[str] | None) -> None:
        scope, items = drawn
        self.both(lambda client: client.delete_many(learner, [key for (key,) in items], scope, names))

    @rule(learner=LEARNERS, key=st.sampled_from(BLOCKS), points=POINTS)
    def set_score(self, learner: str, key: Any, points: tuple[float | None, float | None]) -> None:
        self.both(lambda client: client.set_score(learner, key, *points))

    @rule(learner=LEARNERS, operations=OPERATIONS)
    def batch(self, learner: str, operations: list[tuple[str, Any, list[tuple[Any, Any]]]]) -> None:
        def run(client: XBlockUserStateClient) -> None:
            with client.batch(learner) as batch:
                for kind, scope, items in operations:
                    for key, argument in items:
                        if kind == "set":
                            batch.set(key, argument, scope)
                        elif kind == "delete":
                            batch.delete(key, argument, scope)
                        else:
                            batch.set_score(key, *argument)

        self.both(run)

    @rule(learner=st.one_of(LEARNERS, st.sampled_from(["nobody", "", None])), drawn=in_some_scope(), names=SOME_NAMES)
    def get_many(self, learner: str | None, drawn: tuple[Scope, list[tuple[Any]]], names: list[str] | None) -> None:
        scope, items = drawn
        self.compare(lambda client: list(client.get_many(learner, [key for (key,) in items], scope, names)))

    @rule(learner=LEARNERS, keys=st.lists(st.sampled_from(BLOCKS)))
    def get_scores(self, learner: str, keys: list[Any]) -> None:
        found = [
            [(key, score.grade, score.max_grade) for key, score in client.get_scores(learner, keys).items()]
            for client in (self.django, self.memory)
        ]
        assert found[0] == found[1]

    @rule(learner=LEARNERS, key=st.sampled_from(BLOCKS))
    def get_history(self, learner: str, key: Any) -> None:
        def history(client: XBlockUserStateClient) -> list[XBlockUserState]:
            try:
                return list(client.get_history(learner, key))
            except DoesNotExist:
                return []

        self.compare(history)

    @rule(scope=SCOPES, number=st.integers(0, 5), size=SIZES)
    def iter_all_for_block(self, scope: Scope, number: int, size: int | None) -> None:
        key = KEYS[scope][number % len(KEYS[scope])]
        self.compare(lambda client: list(client.iter_all_for_block(key, scope, size)), ordered=False)

    @rule(
        course=st.sampled_from([COURSE, OTHER_COURSE]),
        block_type=st.sampled_from([None, "problem", "video"]),
        scope=st.sampled_from([Scope.user_state, Scope.user_state_summary]),
        size=SIZES,
    )
    def iter_all_for_course(self, course: Any, block_type: str | None, scope: Scope, size: int | None) -> None:
        self.compare(lambda client: list(client.iter_all_for_course(course, block_type, scope, size)), ordered=False)

    @invariant()
    def rows_and_history_agree(self) -> None:
        """State, revision and history agree in each recorded row: one entry a revision, the last equal to the row."""
        if not hasattr(self, "transaction"):
            return
        entries: dict[tuple[int, int], list[StudentModuleHistory]] = {}
        for entry in StudentModuleHistory.objects.order_by("student_id", "block_id", "revision"):
            entries.setdefault((entry.student_id, entry.block_id), []).append(entry)
        for row in StudentModule.objects.select_related("block"):
            of_row = entries.pop((row.student_id, row.block_id), [])
            if row.block.block_type == "problem":
                assert [entry.revision for entry in of_row] == [*range(1, row.revision + 1)]
                decode(of_row)
                last = of_row[-1]
                assert (last.state, last.grade, last.max_grade) == (row.state, row.grade, row.max_grade)
                assert last.created == row.modified
                assert sorted({entry.created for entry in of_row}) == [entry.created for entry in of_row]
        assert entries == {}

    @invariant()
    def only_blocks_that_were_written_are_registered(self) -> None:
        if hasattr(self, "transaction"):
            assert LearningContext.objects.count() <= 2
            assert Block.objects.count() <= len(BLOCKS) - 1


@pytest.mark.django_db
def test_both_clients_agree() -> None:
    run_state_machine_as_test(
        Clients,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )

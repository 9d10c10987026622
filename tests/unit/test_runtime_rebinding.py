"""Blocks that are rebound to another learner: each learner's changes are one change, in the request's unit of work."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from xblock.fields import Scope

from tests.blocks import ASIDE_TYPE, PageRuntime, QuizBlock, make_page
from xblock_user_state.interface import Conflict, PermissionDenied, ServiceUnavailable, UserDoesNotExist
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore, run_guarded

ADA, BEN, CLEO = (User(id=7 + n, username=name) for n, name in enumerate(("ada", "ben", "cleo")))
IDS, [TOOL, QUIZ] = make_page("tool", "quiz")


@pytest.fixture
def client() -> InMemoryXBlockUserStateClient:
    return InMemoryXBlockUserStateClient(recorded_block_types="*")


def runtime_of(client: InMemoryXBlockUserStateClient, user: Any = ADA, **options: Any) -> PageRuntime:
    return PageRuntime(UserStateKeyValueStore(client, user, **options), user, IDS)


def fail_after(runtime: PageRuntime) -> None:
    runtime.get_block(TOOL).receive(BEN, 4)
    raise ZeroDivisionError


def revision(client: InMemoryXBlockUserStateClient, username: str) -> int | None:
    return client.get(username, TOOL).revision


def test_fields_and_score_are_the_other_learners(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    with runtime.learner_state.unit_of_work(guarded=True):
        runtime.get_block(TOOL).receive(BEN, 4)
        assert list(client.get_many("ben", [TOOL])) == []
    assert client.get("ben", TOOL).state == {"result": 4}
    assert client.get_scores("ben", [TOOL])[TOOL].grade == 4
    assert client.get("ada", TOOL).state == {"calls": 1}
    assert client.get_scores("ada", [TOOL]) == {}
    assert client.get(None, TOOL, Scope.user_state_summary).state == {"total": 4}


def test_each_learner_gets_one_revision(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    with runtime.learner_state.unit_of_work():
        runtime.get_block(TOOL).receive(BEN, 4)
        assert runtime.get_block(TOOL).receive(BEN, 5) == 4
    assert client.get("ben", TOOL).state == {"result": 5}
    assert client.get("ada", TOOL).state == {"calls": 2}
    assert [revision(client, name) for name in ("ada", "ben")] == [1, 1]


def test_a_users_key_may_have_another_name_than_id(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    runtime.get_block(TOOL).receive(SimpleNamespace(pk="b-8", id="b-8", username="ben"), 4)
    block = runtime.get_block(TOOL)
    runtime.rebind(block, SimpleNamespace(pk="c-9", username="cleo"))
    block.result = 5
    block.save()
    assert [client.get(name, TOOL).state for name in ("ben", "cleo")] == [{"result": 4}, {"result": 5}]


def test_a_block_may_come_back_to_its_learner(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    block = runtime.get_block(TOOL)
    with runtime.learner_state.unit_of_work():
        block.receive(BEN, 4)
        block.receive(ADA, 5)
    assert client.get("ben", TOOL).state == {"calls": 1, "result": 4}
    assert client.get("ada", TOOL).state == {"calls": 1, "result": 5}


def test_other_blocks_stay_bound_to_their_learner(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    with runtime.learner_state.unit_of_work():
        runtime.get_block(TOOL).receive(BEN, 4)
        runtime.submit(QUIZ, "red")
        runtime.get_block(TOOL).calls += 1
    assert client.get("ada", QUIZ).state == {"attempts": 1, "answers": {"1": "red"}}
    assert list(client.get_many("ben", [QUIZ])) == []


def test_children_and_asides_of_a_rebound_block_are_rebound(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    block = runtime.get_block(TOOL)
    runtime.rebind(block, BEN)
    child = runtime.get_block(QUIZ, for_parent=block)
    aside = runtime.get_aside_of_type(block, ASIDE_TYPE)
    child.attempts, aside.note = 3, "margin"
    for each in (child, aside):
        each.save()
    assert client.get("ben", QUIZ).state == {"attempts": 3}
    assert client.get("ben", aside.scope_ids.usage_id).state == {"note": "margin"}
    assert list(client.get_many("ada", [QUIZ, aside.scope_ids.usage_id])) == []


def test_an_aside_can_be_rebound(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    aside = runtime.get_aside_of_type(runtime.get_block(QUIZ), ASIDE_TYPE)
    aside.note = "of ada"
    runtime.rebind(aside, BEN)
    assert aside.note == ""
    assert client.get("ada", aside.scope_ids.usage_id).state == {"note": "of ada"}


def test_a_failed_unit_saves_nothing_for_anybody(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    with pytest.raises(ZeroDivisionError), runtime.learner_state.unit_of_work():
        fail_after(runtime)
    assert [list(client.get_many(name, [TOOL])) for name in ("ada", "ben")] == [[], []]
    # The changes are forgotten too.
    with runtime.learner_state.unit_of_work():
        assert runtime.get_block(TOOL).receive(BEN, 5) == 0


def test_an_inner_unit_takes_back_its_own_changes_only(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    state = runtime.learner_state
    with state.unit_of_work():
        runtime.get_block(TOOL).receive(BEN, 3)
        with pytest.raises(ZeroDivisionError), state.for_learner(BEN).unit_of_work():
            fail_after(runtime)
    assert client.get("ben", TOOL).state == {"result": 3}
    assert client.get("ada", TOOL).state == {"calls": 1}


def test_without_a_unit_each_save_is_a_change(client: InMemoryXBlockUserStateClient) -> None:
    block = runtime_of(client).get_block(TOOL)
    assert block.receive(BEN, 4) == 0
    assert client.get("ben", TOOL).state == {"result": 4}
    assert revision(client, "ben") == 2


def interfering(client: InMemoryXBlockUserStateClient, username: str) -> Callable[[], int]:
    """Return work that lets another request win the first attempt, in the tool's row of this learner."""
    attempts = []

    def work() -> int:
        attempts.append(1)
        runtime = runtime_of(client)
        with runtime.learner_state.unit_of_work(guarded=True):
            runtime.get_block(TOOL).receive(BEN, 4)
            if len(attempts) == 1:
                client.set(username, TOOL, {"other": 1})
        return len(attempts)

    return work


def test_a_conflict_in_the_other_learners_row_repeats_the_work(client: InMemoryXBlockUserStateClient) -> None:
    assert run_guarded(interfering(client, "ben")) == 2
    assert client.get("ben", TOOL).state == {"other": 1, "result": 4}
    assert client.get("ada", TOOL).state == {"calls": 1}


def test_nothing_is_done_twice_after_the_other_learners_commit(client: InMemoryXBlockUserStateClient) -> None:
    with pytest.raises(ServiceUnavailable, match=r"'ada' were not saved, after those of \['ben'\] were") as raised:
        run_guarded(interfering(client, "ada"))
    assert isinstance(raised.value.__cause__, Conflict)
    assert client.get("ben", TOOL).state == {"result": 4}
    assert client.get("ada", TOOL).state == {"other": 1}
    assert revision(client, "ben") == 1


def test_an_error_after_the_other_learners_commit_has_a_note(
    client: InMemoryXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = runtime_of(client)
    batch = client.batch

    def only_ben(username: str, **options: Any) -> Any:
        if username == "ada":
            raise ZeroDivisionError
        return batch(username, **options)

    monkeypatch.setattr(client, "batch", only_ben)
    with pytest.raises(ZeroDivisionError) as raised, runtime.learner_state.unit_of_work():
        runtime.get_block(TOOL).receive(BEN, 4)
    assert raised.value.__notes__ == ["the changes of 'ada' were not saved, after those of ['ben'] were"]
    assert client.get("ben", TOOL).state == {"result": 4}


def test_a_block_that_is_not_rebound_can_not_grade_others(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    runtime.get_block(TOOL).receive(BEN, 4)
    event = {"value": 1, "max_value": 1, "user_id": BEN.id}
    with pytest.raises(PermissionDenied):
        runtime.publish(runtime.get_block(TOOL), "grade", event)


def test_the_guard_of_grades_knows_the_running_handler(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    with runtime.learner_state.handling("publish_event"):
        runtime.get_block(TOOL).receive(BEN, 4)
    assert client.get_scores("ben", [TOOL]) == {}


def test_what_keeps_writes_from_one_learner_keeps_them_from_the_other(client: InMemoryXBlockUserStateClient) -> None:
    session: dict[str, Any] = {}
    for options in ({"read_only": True}, {"session": session}):
        assert runtime_of(client, **options).get_block(TOOL).receive(BEN, 4) == 0
    assert list(client.get_many("ben", [TOOL])) == []
    assert runtime_of(client, session=session).get_block(TOOL).receive(BEN, 5) == 4


def test_a_visitors_store_over_the_client_of_accounts_can_serve_a_learner(
    client: InMemoryXBlockUserStateClient,
) -> None:
    runtime = runtime_of(client, AnonymousUser())
    block = runtime.get_block(TOOL)
    runtime.rebind(block, BEN)
    block.result = 3
    block.save()
    assert client.get("ben", TOOL).state == {"result": 3}


def test_a_row_of_all_learners_is_one_row_for_all_learners_of_a_unit(client: InMemoryXBlockUserStateClient) -> None:
    client.set(None, TOOL, {"total": 1}, Scope.user_state_summary)

    def work() -> None:
        runtime = runtime_of(client)
        with runtime.learner_state.unit_of_work(guarded=True):
            block = runtime.get_block(TOOL)
            block.total += 2
            block.receive(BEN, 4)
            block.receive(CLEO, 5)
            assert runtime.get_block(TOOL).total == 12

    run_guarded(work)
    found = client.get(None, TOOL, Scope.user_state_summary)
    assert (found.state, found.revision) == ({"total": 12}, 2)
    assert [client.get(name, TOOL).state for name in ("ben", "cleo")] == [{"calls": 1, "result": 4}, {"result": 5}]


def test_an_inner_unit_gives_a_row_of_all_learners_back(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    state = runtime.learner_state
    with state.unit_of_work(guarded=True):
        block = runtime.get_block(TOOL)
        block.total += 2
        block.save()
        with pytest.raises(ZeroDivisionError), state.unit_of_work():
            fail_after(runtime)
        assert runtime.get_block(TOOL).total == 2
    assert client.get(None, TOOL, Scope.user_state_summary).state == {"total": 2}
    assert list(client.get_many("ben", [TOOL])) == []


def test_a_row_of_all_learners_is_one_row_between_units(client: InMemoryXBlockUserStateClient) -> None:
    runtime = runtime_of(client)
    for learner in (BEN, ADA, CLEO, BEN):
        with runtime.learner_state.unit_of_work(guarded=True):
            runtime.get_block(TOOL).receive(learner, 2)
    assert client.get(None, TOOL, Scope.user_state_summary).state == {"total": 8}


def test_a_masquerade_has_a_copy_of_shared_rows_for_each_learner(client: InMemoryXBlockUserStateClient) -> None:
    session: dict[str, Any] = {}
    for _ in range(2):
        runtime = runtime_of(client, session=session)
        with runtime.learner_state.unit_of_work(guarded=True):
            block = runtime.get_block(TOOL)
            block.total += 1
            block.receive(BEN, 4)
    assert runtime_of(client, session=session).get_block(TOOL).total == 2
    assert runtime_of(client, BEN, session=session).get_block(TOOL).total == 8
    assert list(client.get_many(None, [TOOL], Scope.user_state_summary)) == []


def test_values_that_a_child_read_when_it_was_made_are_not_the_earlier_learners(
    client: InMemoryXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_early(block: QuizBlock, *arguments: Any, **options: Any) -> None:
        super(QuizBlock, block).__init__(*arguments, **options)
        block.early = block.attempts

    monkeypatch.setattr(QuizBlock, "__init__", read_early)
    client.set_many("ada", {QUIZ: {"attempts": 3}})
    runtime = runtime_of(client)
    block = runtime.get_block(TOOL)
    runtime.rebind(block, BEN)
    assert runtime.get_block(QUIZ, for_parent=block).attempts == 0
    assert runtime.get_block(QUIZ).attempts == 3


@pytest.mark.parametrize("nobody", [None, User(username="deleted")])
@pytest.mark.parametrize("user", [ADA, AnonymousUser()])
def test_a_user_without_an_id_is_neither_learner_nor_visitor(
    client: InMemoryXBlockUserStateClient, user: Any, nobody: Any
) -> None:
    runtime = PageRuntime(UserStateKeyValueStore(client, user), user, IDS)
    block = runtime.get_block(TOOL)
    with pytest.raises(UserDoesNotExist, match="can't be bound"):
        runtime.rebind(block, nobody)
    assert block.scope_ids.user_id == user.id

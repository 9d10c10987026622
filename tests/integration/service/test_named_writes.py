"""A write with an idempotency key is done once, whatever happens to its answer."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from xblock.fields import Scope

from tests import citus
from tests.factories import make_block
from tests.integration.service.conftest import Caller, problem_in
from xblock_user_state import wire
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.clients.arguments import overlay
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.models import AnsweredWrite
from xblock_user_state.service import named
from xblock_user_state.state.change import Condition
from xblock_user_state.state.keys import row_key
from xblock_user_state.store.row_cache import RowCache

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block("stars")


def write(value: int, revision: int | None = None, learner: Any = "ann", scope: Scope = Scope.user_state) -> wire.Write:
    change = overlay(BLOCK, {"a": value})
    if revision is not None:
        change = type(change)(change.edits, condition=Condition(BLOCK, revision))
    return wire.Write.of(learner, {scope: {row_key(BLOCK, scope): change}})


def revisions() -> list[int]:
    return [entry.revision for entry in DjangoXBlockUserStateClient().get_history("ann", BLOCK)]


def test_a_repetition_gets_the_answer_and_writes_nothing(host: Caller) -> None:
    first = host(write(1, 0), Idempotency_Key="one")
    host(write(2))
    # Its condition does not hold any more.
    assert host(write(1, 0), Idempotency_Key="one") == first
    assert revisions() == [2, 1]
    assert DjangoXBlockUserStateClient().get("ann", BLOCK).state == {"a": 2}


def test_a_key_of_another_request_is_refused(host: Caller, learner: Caller) -> None:
    host(write(1), Idempotency_Key="one")
    assert problem_in(host.send(write(2), Idempotency_Key="one")).code == "KeyReused"
    # Nor does another caller get the answer.
    assert problem_in(learner.send(write(1), Idempotency_Key="one")).code == "KeyReused"
    assert host(write(1, learner="bob"), Idempotency_Key="one").rows[0].revision == 1


def test_a_repetition_by_a_caller_who_may_not_is_refused(host: Caller, learner: Caller) -> None:
    learner(write(1), Idempotency_Key="one")
    learner.client.logout()
    assert problem_in(learner.send(write(1), Idempotency_Key="one")).code == "Unauthorized"


def test_a_refused_write_leaves_the_key_free(host: Caller) -> None:
    assert problem_in(host.send(write(1, 5), Idempotency_Key="one")).code == "Conflict"
    assert not AnsweredWrite._base_manager.exists()
    host(write(1, 0), Idempotency_Key="one")
    assert revisions() == [1]


def crash(*_: Any) -> Any:
    raise ServiceUnavailable("the process is killed here")


def test_the_answer_survives_a_crash_between_commit_and_answer(host: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        # The write is committed at this moment.
        patch.setattr(RowCache, "remember", crash)
        assert problem_in(host.send(write(1, 0), Idempotency_Key="one")).code == "ServiceUnavailable"
    assert revisions() == [1]
    assert host(write(1, 0), Idempotency_Key="one").rows[0].revision == 1
    assert revisions() == [1]


@pytest.mark.parametrize("place", ["name_row", "_packed"])
def test_a_crash_before_the_commit_leaves_nothing(host: Caller, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    host(write(7))
    with monkeypatch.context() as patch:
        patch.setattr(named, place, crash)
        assert problem_in(host.send(write(1, 1), Idempotency_Key="one")).code == "ServiceUnavailable"
    assert not AnsweredWrite._base_manager.exists()
    assert revisions() == [1]
    host(write(1, 1), Idempotency_Key="one")
    assert revisions() == [2, 1]


def test_a_write_that_changes_nothing_is_named_too(host: Caller) -> None:
    host(write(1))
    assert host(write(1), Idempotency_Key="one").rows[0].revision == 1
    host(write(2))
    assert host(write(1), Idempotency_Key="one").rows[0].revision == 1
    assert DjangoXBlockUserStateClient().get("ann", BLOCK).state == {"a": 2}


def test_repetitions_at_the_same_moment_are_one_write(host: Caller, ann: User) -> None:
    answers: list[Any] = []

    def repeat(caller: Caller) -> None:
        try:
            answers.append(caller(write(1), Idempotency_Key="one"))
        finally:
            connections.close_all()

    user = User.objects.get(username="host")
    threads = [threading.Thread(target=repeat, args=(Caller(user),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert all(answer == answers[0] for answer in answers)
    assert revisions() == [1]


def test_a_shared_state_lies_with_the_caller_if_there_is_no_learner(host: Caller) -> None:
    for _ in range(2):
        host(write(1, learner=None, scope=Scope.user_state_summary), Idempotency_Key="one")
    [row] = AnsweredWrite._base_manager.all()
    assert row.student_id == User.objects.get(username="host").pk
    assert DjangoXBlockUserStateClient().get("", BLOCK, Scope.user_state_summary).revision == 1


def test_a_key_that_no_header_should_have_is_refused(host: Caller) -> None:
    for key in ("x" * 65, ""):
        assert problem_in(host.send(write(1), Idempotency_Key=key)).code == "ValueError"


def test_only_a_write_with_a_key_asks_for_it(host: Caller) -> None:
    def asked(**headers: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            host(write(len(captured)), **headers)
        return sum(AnsweredWrite._meta.db_table in each["sql"] for each in captured)

    assert (asked(), asked(Idempotency_Key="one")) == (0, 1)


def test_a_name_takes_no_statement_more_on_postgresql(host: Caller) -> None:
    def statements(value: int, **headers: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            host(write(value), **headers)
        return len(captured)

    host(write(0))
    more = statements(1, Idempotency_Key="one") - statements(2)
    assert more == 0 if citus.DIALECT == "postgresql" else more > 0


def test_a_taken_name_takes_no_change_with_it(host: Caller) -> None:
    first = host(write(1), Idempotency_Key="one")
    host(write(2))
    assert host(write(1), Idempotency_Key="one") == first
    host(write(3))
    assert revisions() == [3, 2, 1]


def test_old_answers_are_forgotten_in_pages(host: Caller) -> None:
    for number in range(5):
        host(write(number), Idempotency_Key=f"key {number}")
        host(write(number, learner="bob"), Idempotency_Key=f"key {number}")
    old = datetime.now(UTC) - timedelta(days=1, seconds=1)
    AnsweredWrite._base_manager.exclude(key="key 3").update(created=old)
    out = StringIO()
    call_command("forget_answered_writes", batch=3, stdout=out)
    assert "8 answers were forgotten" in out.getvalue()
    assert set(AnsweredWrite._base_manager.values_list("key", flat=True)) == {"key 3"}
    assert AnsweredWrite._base_manager.count() == 2


def test_a_deleted_user_leaves_no_answers(host: Caller, ann: User) -> None:
    host(write(1), Idempotency_Key="one")
    ann.delete()
    assert not AnsweredWrite._base_manager.exists()

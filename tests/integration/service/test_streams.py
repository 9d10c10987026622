"""Iterations over HTTP: each state once, also after a stream that was cut, and errors in their place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from msgspec import structs
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_learners
from tests.integration.service.conftest import Caller, content_of, problem_in
from xblock_user_state import wire
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.models import StudentModule
from xblock_user_state.service import streams
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db

BLOCKS = [make_block(f"block{number}") for number in range(3)]
NAMES = [f"learner{number}" for number in range(5)]
COURSE_CALL = wire.IterateCourse(course=str(COURSE), batch_size=2)
BLOCK_CALL = wire.IterateBlock(row=wire.Address.of_key(Scope.user_state, BLOCKS[0]), batch_size=2)


@pytest.fixture
def states(ann: User) -> None:
    client = DjangoXBlockUserStateClient()
    for user in make_learners(*NAMES):
        client.set_many(user.username, {block: {"name": user.username, "x": float("nan")} for block in BLOCKS})
        client.set(user.username, "problem", {"seen": user.username}, Scope.preferences)
        client.set(user.username, None, {"language": user.username}, Scope.user_info)
    client.set_many("", {block: {"seen": 1} for block in BLOCKS}, Scope.user_state_summary)


def found(lines: list[Any]) -> list[tuple[Any, ...]]:
    of_states = [line for line in lines if isinstance(line, wire.StateLine)]
    return [
        (line.learner, line.unpack()[1], line.revision, wire.unpack_json(line.state), line.updated)
        for line in of_states
    ]


def expected(states: Iterator[Any]) -> list[tuple[Any, ...]]:
    return [(each.username, each.block_key, each.revision, each.updated) for each in states]


@pytest.mark.parametrize("call", [COURSE_CALL, BLOCK_CALL], ids=["course", "block"])
def test_an_iteration_has_the_states_of_one_in_the_process(host: Caller, states: None, call: Any) -> None:
    client = DjangoXBlockUserStateClient()
    of_client = client.iter_all_for_course(COURSE) if call is COURSE_CALL else client.iter_all_for_block(BLOCKS[0])
    lines = found(host.lines(call))
    assert [(*line[:3], line[4]) for line in lines] == expected(of_client)
    assert lines[0][3] == f'{{"name":"{lines[0][0]}","x":NaN}}'


@pytest.mark.parametrize(
    "call",
    [
        COURSE_CALL,
        BLOCK_CALL,
        structs.replace(COURSE_CALL, scope="user_state_summary"),
        wire.IterateBlock(row=wire.Address(scope="user_state_summary", key=str(BLOCKS[0]))),
        wire.IterateBlock(row=wire.Address(scope="preferences", key="problem"), batch_size=2),
        wire.IterateBlock(row=wire.Address(scope="user_info"), batch_size=2),
    ],
    ids=lambda call: f"{type(call).__name__} {getattr(call, 'scope', None) or call.row.scope}",
)
def test_a_stream_goes_on_from_each_of_its_places(
    host: Caller, states: None, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STATES", 1)
    lines = host.lines(call)
    places = [number for number, line in enumerate(lines) if isinstance(line, wire.ResumeLine)]
    assert len(places) == len(found(lines)) > 0
    for place in places:
        rest = host.lines(structs.replace(call, resume=lines[place].resume))
        assert found(rest) == found(lines[place:])


def test_a_place_goes_on_even_if_its_row_is_gone(host: Caller, states: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STATES", 1)
    lines = host.lines(COURSE_CALL)
    learner, key, *_ = found(lines)[7]
    rows = StudentModule._base_manager.filter(block_id=identify_block(key).id)
    rows.filter(student_id=User.objects.get(username=learner).pk)._raw_delete("default")
    place = [line for line in lines if isinstance(line, wire.ResumeLine)][7]
    assert found(host.lines(structs.replace(COURSE_CALL, resume=place.resume))) == found(lines)[8:]


@pytest.mark.parametrize("resume", ["", "x", "[1]", '["text",1]', "[1,[]]", '[1,"no id"]', "[null,null]"])
def test_a_place_of_another_iteration_is_refused(host: Caller, states: None, resume: str) -> None:
    assert problem_in(host.send(structs.replace(BLOCK_CALL, resume=resume))).code == "ValueError"


def test_a_damaged_state_is_left_out(host: Caller, states: None) -> None:
    StudentModule._base_manager.filter(student__username=NAMES[2]).update(state="damaged")
    assert {line[0] for line in found(host.lines(COURSE_CALL))} == {*NAMES} - {NAMES[2]}


def test_revisions_that_the_caller_knows_are_taken(host: Caller, states: None) -> None:
    known = wire.KnownRow.of_key(Scope.user_state, BLOCKS[0], learner=NAMES[0], revision=1)
    assert len(found(host.lines(structs.replace(BLOCK_CALL, at_least=[known])))) == len(NAMES)
    other = wire.KnownRow(scope="user_info", learner=NAMES[0], revision=1)
    assert problem_in(host.send(structs.replace(BLOCK_CALL, at_least=[other]))).code == "ValueError"


def test_a_caller_may_choose_between_the_replica_and_the_primary_only(host: Caller, states: None) -> None:
    assert len(found(host.lines(structs.replace(BLOCK_CALL, using="default")))) == len(NAMES)
    problem = problem_in(host.send(structs.replace(BLOCK_CALL, using="student_module_history")))
    assert (problem.code, "may name 'default'" in problem.detail) == ("ValueError", True)


def test_an_error_after_some_states_is_the_last_line(
    host: Caller, states: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = DjangoXBlockUserStateClient.iter_rows_for_block

    def failing(*arguments: Any, **options: Any) -> Iterator[Any]:
        for number, row in enumerate(rows(*arguments, **options)):
            if number == 3:
                raise ServiceUnavailable("the database is gone")
            yield row

    monkeypatch.setattr(DjangoXBlockUserStateClient, "iter_rows_for_block", failing)
    lines: Any = wire.decode_lines(content_of(host.send(BLOCK_CALL)).splitlines())
    assert [next(lines).learner for _ in range(3)] == NAMES[:3]
    with pytest.raises(ServiceUnavailable, match="gone"):
        next(lines)


def test_an_empty_iteration_has_its_last_line_only(host: Caller) -> None:
    assert content_of(host.send(BLOCK_CALL)).splitlines() == [wire.encode(wire.EndLine())]

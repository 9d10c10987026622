"""Exports of the history over HTTP: the lines of `export_history`, from any place on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from msgspec import structs

from tests.factories import COURSE, make_block, make_blocks
from tests.integration.service.conftest import Caller, problem_in
from xblock_user_state import wire
from xblock_user_state.archive.selection import Selection
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.service import exports

pytestmark = pytest.mark.django_db

BLOCKS = make_blocks(2)
OF_COURSE = wire.ExportHistory(course=str(COURSE))


@pytest.fixture(autouse=True)
def _history(ann: User) -> None:
    client = DjangoXBlockUserStateClient(ann)
    for name in ("ann", "bob"):
        for number in range(3):
            client.set_many(name, {block: {"number": number, "x": float("nan")} for block in BLOCKS})
    client.set("ann", make_block("elsewhere", course=COURSE.replace(run="2027")), {"a": 1})


def entries(lines: list[Any]) -> list[str]:
    return [str(wire.unpack_json(line.entry)) for line in lines if isinstance(line, wire.EntryLine)]


def test_an_export_has_the_lines_of_the_command(host: Caller, ann: User) -> None:
    expected = [each.line.rstrip("\n") for each in Selection("default").entries()]
    found = entries(host.lines(OF_COURSE))
    # By block, as the index of a block's learners has them.
    assert sorted(found) == sorted(line for line in expected if "2027" not in line)
    assert len(found) == 12
    of_ann = [line for line in expected if line.startswith('{"learner":"ann"')]
    assert entries(host.lines(wire.ExportHistory(learner="ann"))) == of_ann
    both = entries(host.lines(structs.replace(OF_COURSE, learner="ann")))
    assert [json.loads(line)["learner"] for line in both] == ["ann"] * 6


def test_an_export_goes_on_from_each_of_its_places(host: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "STATES", 1)
    lines = host.lines(OF_COURSE)
    places = [number for number, line in enumerate(lines) if isinstance(line, wire.ResumeLine)]
    assert len(places) == 12
    for place in places:
        assert entries(host.lines(structs.replace(OF_COURSE, resume=lines[place].resume))) == entries(lines[place:])


def test_learners_export_their_own_history_only(learner: Caller) -> None:
    assert len(entries(learner.lines(wire.ExportHistory(learner="ann")))) == 7
    for call in (wire.ExportHistory(learner="bob"), OF_COURSE):
        assert problem_in(learner.send(call)).code == "PermissionDenied"


@pytest.mark.parametrize(
    "call",
    [
        wire.ExportHistory(),
        wire.ExportHistory(course="no course"),
        structs.replace(OF_COURSE, resume='["no id", "1", "1"]'),
        structs.replace(OF_COURSE, resume="[]"),
        structs.replace(OF_COURSE, using="nowhere"),
    ],
)
def test_an_export_of_nothing_that_there_is_is_refused(host: Caller, call: Any) -> None:
    assert problem_in(host.send(call)).code == "ValueError"


def test_an_unknown_learner_has_no_history(host: Caller) -> None:
    assert host.lines(wire.ExportHistory(learner="nobody")) == []

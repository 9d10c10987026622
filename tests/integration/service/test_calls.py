"""Each call of the contract has the same result over HTTP as in the process."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from xblock.fields import Scope

from tests.factories import COURSE, make_block
from tests.integration.service.conftest import Caller, problem_in
from tests.unit.test_codec_properties import FIELDS
from xblock_user_state import wire
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.clients.arguments import new_score, overlay, removal, replacement
from xblock_user_state.interface import Conflict, DoesNotExist, UserDoesNotExist, UserId
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.models import StudentModule
from xblock_user_state.state.change import Change, Condition
from xblock_user_state.state.keys import row_key

pytestmark = pytest.mark.django_db

BLOCK, OTHER = make_block("stars"), make_block("moons")
ROW: Any = row_key(BLOCK, Scope.user_state)


def write(change: Change, scope: Scope = Scope.user_state, key: Any = BLOCK, learner: Any = "ann") -> wire.Write:
    return wire.Write.of(learner, {scope: {row_key(key, scope): change}})


def rows(*keys: tuple[Scope, Any], learner: Any = "ann") -> wire.ReadRows:
    return wire.ReadRows(learner=learner, rows=[wire.Address.of_key(*key) for key in keys])


CHANGES = st.lists(
    st.one_of(
        FIELDS.map(lambda fields: overlay(BLOCK, fields)),
        FIELDS.map(lambda fields: replacement(BLOCK, fields)),
        st.just(replacement(BLOCK, None)),
        st.one_of(st.none(), st.lists(st.text(max_size=3), max_size=2)).map(removal),
        st.just(new_score(1, 2)),
        st.just(new_score(None, None)),
    ),
    min_size=1,
    max_size=4,
)


NUMBERS = count()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(CHANGES)
def test_writes_leave_what_they_leave_in_the_process(host: Caller, changes: list[Change]) -> None:
    block = make_block(f"block{next(NUMBERS)}")
    address, row = (Scope.user_state, block), row_key(block, Scope.user_state)
    memory = InMemoryXBlockUserStateClient()
    for change in changes:
        answer = host(write(change, key=block))
        memory._write("ann", {Scope.user_state: {row: change}}, "batch")
        [expected] = memory.read_rows("ann", [address])
        [found] = [each and each.row() for each in host(rows(address)).rows]
        assert (found and found[:4]) == (expected and expected[:4])
        assert [each and (each.revision, each.updated) for each in answer.rows] == [
            found and (found.revision, found.modified)
        ]


def test_rows_of_several_scopes_come_in_the_order_asked_for(host: Caller) -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCK, {"a": float("nan"), "b": "\ud800\x00", "c": 10**30})
    client.set("ann", None, {"language": "en"}, Scope.user_info)
    client.set("ann", "problem", {"seen": 1}, Scope.preferences)
    asked = [
        (Scope.user_info, None),
        (Scope.user_state, OTHER),
        (Scope.user_state, BLOCK),
        (Scope.preferences, "problem"),
    ]
    found = [each and each.row() for each in host(rows(*asked)).rows]
    assert found == [row and row._replace(chain=0, checksum=None) for row in client.read_rows("ann", asked)]
    assert found[1] is None


@pytest.mark.parametrize("text", ["not json", "[1]", "null", "", '{"a": 1', ' {"a": 1}', '{"a" :\n1}'])
def test_a_text_that_sql_wrote_comes_as_it_is_and_the_others_too(host: Caller, text: str) -> None:
    DjangoXBlockUserStateClient().set_many("ann", {BLOCK: {"a": 1}, OTHER: {"b": 2}})
    StudentModule._base_manager.filter(block_id=ROW.id).update(state=text)
    found = host(rows((Scope.user_state, BLOCK), (Scope.user_state, OTHER))).rows
    assert [row.row().text for row in found] == [text, '{"b":2}']


def test_a_learner_is_named_by_id_too(host: Caller, ann: User) -> None:
    host(write(overlay(BLOCK, {"a": 1}), learner=UserId(ann.pk)))
    assert host(rows((Scope.user_state, BLOCK), learner=UserId(str(ann.pk)))).rows[0].revision == 1


def test_a_batch_is_one_commit_of_several_scopes(host: Caller) -> None:
    changes = {
        Scope.user_state: {ROW: overlay(BLOCK, {"a": 1}).then(new_score(1, 2)).then(overlay(BLOCK, {"b": 2}))},
        Scope.preferences: {"problem": overlay("problem", {"seen": True})},
    }
    call = wire.Write.of("ann", changes)
    written = call.written(host(call))
    assert {scope: [row.revision for row in found.values()] for scope, found in written.items()} == {
        Scope.user_state: [1],
        Scope.preferences: [1],
    }
    assert DjangoXBlockUserStateClient().get("ann", BLOCK).state == {"a": 1, "b": 2}


def test_only_new_leaves_rows_alone(host: Caller) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"a": 1})
    host(write(replace(overlay(BLOCK, {"a": 2}), only_new=True)))
    assert DjangoXBlockUserStateClient().get("ann", BLOCK).state == {"a": 1}


def test_a_conflict_names_rows_and_revisions(host: Caller) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"a": 1})
    with pytest.raises(Conflict) as raised:
        host(write(replace(overlay(BLOCK, {"a": 2}), condition=Condition(BLOCK, 5))))
    assert raised.value.rows == [(Scope.user_state, BLOCK, 5, 1)]


def test_two_conditions_for_a_row_are_refused(host: Caller) -> None:
    change = wire.RowChange.of_change(Scope.user_state, ROW, replace(removal(None), condition=Condition(BLOCK, 1)))
    other = wire.RowChange.of_change(Scope.user_state, ROW, replace(removal(None), condition=Condition(BLOCK, 2)))
    with pytest.raises(ValueError, match="two revisions"):
        host(wire.Write(learner="ann", changes=[change, other]))


def test_scores_come_with_their_times(host: Caller) -> None:
    client = DjangoXBlockUserStateClient()
    client.set_score("ann", BLOCK, 0.5, 1)
    addresses = [wire.Address.of_key(Scope.user_state, key) for key in (OTHER, BLOCK)]
    none, found = host(wire.ReadScores(learner="ann", rows=addresses)).scores
    assert none is None
    assert found.score().__getnewargs__() == client.get_scores("ann", [BLOCK])[BLOCK].__getnewargs__()


def test_a_history_comes_in_pages(host: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xblock_user_state.service.calls._ENTRIES", 2)
    client = DjangoXBlockUserStateClient(User.objects.get(username="ann"))
    for number in range(5):
        client.set("ann", BLOCK, {"a": number})
    call = wire.ReadHistory(learner="ann", row=wire.Address.of_key(Scope.user_state, BLOCK))
    entries, page = [], host(call)
    while page.more:
        entries += page.entries
        page = host(structs.replace(call, before_revision=entries[-1].revision))
    entries += page.entries
    expected = list(client.get_history("ann", BLOCK))
    assert [(e.revision, e.state_or_damage(), e.updated, e.actor) for e in entries] == [
        (e.revision, e.state, e.updated, "ann") for e in expected
    ]
    limited = host(structs.replace(call, limit=1))
    assert (len(limited.entries), limited.more) == (1, False)


def test_a_history_has_deleted_states(host: Caller) -> None:
    host(write(overlay(BLOCK, {"a": 1})))
    host(write(removal(None)))
    found = host(wire.ReadHistory(learner="ann", row=wire.Address.of_key(Scope.user_state, BLOCK))).entries
    assert [entry.state_or_damage() for entry in found] == [None, {"a": 1}]


def test_a_history_that_was_not_recorded_does_not_exist(host: Caller) -> None:
    with pytest.raises(DoesNotExist, match="no history"):
        host(wire.ReadHistory(learner="ann", row=wire.Address.of_key(Scope.user_state, BLOCK)))


def test_latest_states_and_registered_blocks_are_found(host: Caller) -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", OTHER, 1, 1)
    found = host(wire.ReadLatest(learner="ann", limit=5, course=str(COURSE))).rows
    assert [(row.unpack()[1], wire.unpack_state(row.state)) for row in found] == [(OTHER, None), (BLOCK, {"a": 1})]
    assert [row.unpack()[1] for row in host(wire.FindBlocks(key=str(BLOCK))).blocks] == [BLOCK]


def test_a_learner_reaches_their_own_state_only(learner: Caller) -> None:
    learner(write(overlay(BLOCK, {"a": 1})))
    for call in (
        rows((Scope.user_state, BLOCK), learner="bob"),
        write(overlay(BLOCK, {"a": 1}), learner="bob"),
        wire.IterateBlock(row=wire.Address.of_key(Scope.user_state, BLOCK)),
        wire.IterateCourse(course=str(COURSE)),
        wire.FindBlocks(key=str(BLOCK)),
        wire.ReadLatest(learner="bob"),
        wire.ReadHistory(learner="bob", row=wire.Address.of_key(Scope.user_state, BLOCK)),
        wire.ReadScores(learner="bob", rows=[]),
    ):
        assert problem_in(learner.send(call)).code == "PermissionDenied", call


def test_nobody_is_told_to_authenticate(ann: User) -> None:
    response = Caller().send(rows((Scope.user_state, BLOCK)))
    assert (problem_in(response).code, response["WWW-Authenticate"]) == ("Unauthorized", "Bearer")


def test_an_unknown_learner_can_not_be_written(host: Caller) -> None:
    with pytest.raises(UserDoesNotExist):
        host(write(overlay(BLOCK, {"a": 1}), learner="nobody"))
    assert host(rows((Scope.user_state, BLOCK), learner="nobody")).rows == [None]

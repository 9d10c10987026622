"""Erasing a learner, with a receipt, and exporting everything that is held of one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.cache import SessionStore
from pytest_django import Settings
from xblock.fields import Scope

from tests.factories import BY, make_block, make_learners
from tests.integration.outage import Outage
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from tests.integration.statements import captured
from tests.policies import Asked, refuse
from tests.relaying import ship_all
from xblock_user_state.actions import erase_learner, export_learner, reset_attempts, undo
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.ephemeral import EphemeralXBlockUserStateClient, visitor_id
from xblock_user_state.history.entries import all_rows, stores
from xblock_user_state.interface import PermissionDenied, UserDoesNotExist, UserId
from xblock_user_state.models import AnsweredWrite, HistoryWatermark, LoggedAction
from xblock_user_state.store.once import Named, name_row, take
from xblock_user_state.store.tables import TABLES

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()
SECRET = "<b>my own words</b>"
EXTENDED = pytest.param({"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}, marks=pytest.mark.extended_history)


@pytest.fixture(params=[{}, EXTENDED], ids=["default", "extended"], autouse=True)
def site(request: pytest.FixtureRequest, settings: Settings) -> dict[str, Any]:
    settings.XBLOCK_USER_STATE = request.param
    return settings.XBLOCK_USER_STATE


@pytest.fixture
def ann(site: dict[str, Any]) -> User:
    ann, bob = make_learners("ann", "bob")
    client = DjangoXBlockUserStateClient(ann)
    for learner in ("ann", "bob"):
        client.set(learner, BLOCK, {"attempts": 2, "answer": SECRET})
        client.set_score(learner, BLOCK, 1, 2)
        client.set(learner, "poll", {"seen": True}, Scope.preferences)
        client.set(learner, None, {"language": "en"}, Scope.user_info)
        if "EXTENDED_HISTORY" in site:
            ship_all()
        student_id = User.objects.get(username=learner).pk
        take(name_row("default", student_id, Named("a key", "a request"), "an answer"))
    reset_attempts(BLOCK, ["ann", "bob"], **BY)
    del bob
    return ann


def rows_of(learner: Any) -> dict[str, int]:
    owned: list[Any] = [(table.model, "default") for table in TABLES.values() if table.owned]
    beside = (HistoryWatermark, AnsweredWrite, LoggedAction)
    return {
        model.__name__: all_rows(model, alias).filter(student_id=learner.pk).count()
        for model, alias in [*owned, *stores("default"), *((model, "default") for model in beside)]
    }


def test_a_learner_is_erased_with_a_receipt(ann: User, site: dict[str, Any]) -> None:
    before, bob = rows_of(ann), User.objects.get(username="bob")
    of_bob = rows_of(bob)
    plan = erase_learner("ann", dry_run=True, **BY)
    assert rows_of(ann) == before
    receipt = erase_learner("ann", **BY)
    assert receipt.rows == plan.rows == before
    assert (plan.id, receipt.student_id, sum(before.values()) > 6) == (None, ann.pk, True)
    assert SECRET not in repr(receipt)
    if "EXTENDED_HISTORY" in site:
        ship_all()
    assert {name for name, number in rows_of(ann).items() if number} == {"LoggedAction"}
    assert sum(rows_of(bob).values()) == sum(of_bob.values())
    [row] = LoggedAction.objects.filter(student_id=ann.pk)
    assert (row.run, row.act, row.revision_after) == (receipt.id, "erase_learner", None)
    assert row.actor_id == BY["actor"].pk


def test_a_deleted_user_is_erased_by_id(ann: User) -> None:
    receipt = erase_learner(UserId(ann.pk), **BY)
    assert receipt.rows["StudentModule"] == 1
    with pytest.raises(UserDoesNotExist):
        erase_learner("nobody", **BY)
    with pytest.raises(ValueError, match="UserId\\(None\\)"):
        erase_learner(User(username="new"), **BY)


@pytest.mark.extended_history
def test_a_history_database_that_is_down_leaves_a_gap_in_the_receipt(
    ann: User, site: dict[str, Any], outage: Outage
) -> None:
    if "EXTENDED_HISTORY" not in site:
        pytest.skip("without an extended history")
    with outage.lasts():
        receipt = erase_learner("ann", **BY)
    assert receipt.rows["StudentModuleHistoryExtended"] is None
    ship_all()
    assert rows_of(ann)["StudentModuleHistoryExtended"] == 0


def test_entries_of_visitors_go_too(ann: User) -> None:
    session = SessionStore()
    client = DjangoXBlockUserStateClient()
    visitor = EphemeralXBlockUserStateClient(visitor_id(session), client)
    visitor.set("", BLOCK, {"answer": SECRET})
    assert erase_learner(ann, visitors=[visitor_id(session)], **BY).visitors == 1
    assert list(visitor.get_many("", [BLOCK])) == []
    with pytest.raises(PermissionDenied):
        visitor.set("", BLOCK, {"answer": "late"})


def test_an_export_has_everything(ann: User) -> None:
    export = export_learner("ann", **BY)
    data = json.loads(export.json())
    assert data["learner"] == {"id": str(ann.pk), "username": "ann"}
    assert [(row["scope"], row["block"], row["block_type"], row["state"]) for row in data["states"]] == [
        ("user_state", str(BLOCK), None, {"attempts": 0, "answer": SECRET}),
        ("preferences", None, "poll", {"seen": True}),
        ("user_info", None, None, {"language": "en"}),
    ]
    assert [(row["revision"], row["grade"], row["by"]) for row in data["history"]] == [
        (3, 1.0, "another user"),
        (2, 1.0, "the learner"),
        (1, None, "the learner"),
    ]
    assert [(row["act"], row["reason"], row["revision_after"]) for row in data["actions"]] == [
        ("reset_attempts", "a test", 3)
    ]
    assert LoggedAction.objects.get(run=export.id).act == "export_learner"
    assert "bob" not in export.json()


def test_an_export_is_a_page_with_escaped_texts(ann: User) -> None:
    page = export_learner(ann, **BY).html()
    assert page.startswith("<!doctype html>")
    assert SECRET not in page
    assert "&lt;b&gt;my own words&lt;/b&gt;" in page
    assert str(BLOCK) in page


def test_the_policy_is_asked_before_any_statement() -> None:
    policy = Asked(refuse)
    with captured() as seen:
        with pytest.raises(PermissionDenied, match="may not erase the state of 'nobody'"):
            erase_learner("nobody", policy=policy, **BY)
        with pytest.raises(PermissionDenied, match="may not read the state of 'nobody'"):
            export_learner("nobody", policy=policy, **BY)
    assert len(seen) == 0


def test_an_undo_reads_the_history_wherever_it_is(ann: User, site: dict[str, Any]) -> None:
    if "EXTENDED_HISTORY" in site:
        ship_all()
    undone = undo(LoggedAction.objects.filter(act="reset_attempts")[0].run, **BY)
    assert (undone.changed, undone.skipped) == (2, 0)
    assert DjangoXBlockUserStateClient().get("ann", BLOCK).state == {"attempts": 2, "answer": SECRET}

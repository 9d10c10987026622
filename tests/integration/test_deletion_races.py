"""Writes while a learner is deleted: a deleted row takes its history along, in every store."""

from __future__ import annotations

from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from tests.factories import make_blocks, make_learners
from tests.integration.histories import revisions
from tests.integration.interference import just_after, just_before, on_another_connection
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import HistoryOutbox, StudentModule

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time"),
]

SITES = {
    "default": {},
    "at once": {"EXTENDED_HISTORY": True},
    "by relay": {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"},
}
KNOWN, NEW, NEWEST = make_blocks(3)


def delete_while_others_begin_blocks() -> None:
    """Delete the learner ann while another connection begins two blocks for her between the deletion's statements."""
    ann = make_learners("ann")[0]
    writer = DjangoXBlockUserStateClient(ann)
    writer.set("ann", KNOWN, {"a": 1})
    with (
        just_before("DELETE", StudentModule, lambda: on_another_connection(lambda: writer.set("ann", NEW, {"a": 1}))),
        just_before(
            "SELECT", StudentModule, lambda: on_another_connection(lambda: writer.set("ann", NEWEST, {"a": 1}))
        ),
    ):
        get_user_model().objects.get(username="ann").delete()


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.extended_history if SITES[name] else ()) for name in SITES]
)
def site(request: pytest.FixtureRequest, settings: Settings) -> str:
    """Name of a site that keeps its history in one of the stores."""
    settings.XBLOCK_USER_STATE = SITES[request.param]
    return str(request.param)


def test_a_block_that_is_begun_meanwhile_goes_with_its_history(site: str) -> None:
    delete_while_others_begin_blocks()
    assert not StudentModule.objects.exists()
    ship(site)
    assert revisions() == {}


def test_a_block_that_is_begun_after_the_last_look_keeps_its_history(site: str) -> None:
    ann = make_learners("ann")[0]
    writer = DjangoXBlockUserStateClient(ann)
    with just_after("SELECT", HistoryOutbox, lambda: on_another_connection(lambda: writer.set("ann", NEW, {"a": 1}))):
        ann.delete()
    ship(site)
    assert StudentModule.objects.get().revision == 1
    assert [*revisions().values()] == [[1]]


def test_a_row_that_somebody_else_deleted_does_not_take_the_next_ones_history(site: str) -> None:
    """Two callers delete the same row, and the learner begins anew before the second has finished."""
    writer = DjangoXBlockUserStateClient(make_learners("ann")[0])
    writer.set("ann", KNOWN, {"life": 1})
    with (
        just_after(
            "SELECT", StudentModule, lambda: on_another_connection(lambda: StudentModule.objects.all().delete())
        ),
        just_after(
            "DELETE", StudentModule, lambda: on_another_connection(lambda: writer.set("ann", KNOWN, {"life": 2}))
        ),
    ):
        StudentModule.objects.all().delete()
    ship(site)
    assert StudentModule.objects.get().revision == 1
    assert [entry.state for entry in writer.get_history("ann", KNOWN)] == [{"life": 2}]
    assert [*revisions().values()] == [[1]]


def ship(site: str) -> None:
    if SITES[site]:
        call_command("relay_history", stdout=StringIO())

"""Somebody writes while a learner is deleted: what is deleted takes its history along, in every store."""

from __future__ import annotations

from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from tests.factories import make_blocks, make_learners
from tests.integration.histories import revisions
from tests.integration.interference import elsewhere, just_before
from tests.integration.outage import ALIAS
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time"),
]

KNOWN, NEW, NEWEST = make_blocks(3)


def delete_while_others_begin_blocks() -> None:
    """Delete the learner ann, for whom somebody begins a block between the deletion's statements, and then another."""
    ann = make_learners("ann")[0]
    writer = DjangoXBlockUserStateClient(ann)
    writer.set("ann", KNOWN, {"a": 1})
    with (
        just_before("DELETE", StudentModule, lambda: elsewhere(lambda: writer.set("ann", NEW, {"a": 1}))),
        just_before("SELECT", StudentModule, lambda: elsewhere(lambda: writer.set("ann", NEWEST, {"a": 1}))),
    ):
        get_user_model().objects.get(username="ann").delete()


def test_a_block_that_is_begun_meanwhile_goes_with_its_history() -> None:
    delete_while_others_begin_blocks()
    assert not StudentModule.objects.exists()
    assert revisions() == {}


@pytest.mark.extended_history
@pytest.mark.django_db(transaction=True, databases=["default", ALIAS])
@pytest.mark.parametrize("ship", ["at_once", "by_relay"])
def test_what_it_has_shipped_meanwhile_goes_too(settings: Settings, ship: str) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": ship}
    delete_while_others_begin_blocks()
    assert not StudentModule.objects.exists()
    call_command("relay_history", stdout=StringIO())
    assert revisions() == {}

"""Pages over all learners read a replica, unless it lacks the newest action of staff."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from tests.factories import COURSE, make_block, make_learners
from tests.integration.console.conftest import Login
from tests.integration.console.reading import address, history_address, read
from tests.integration.replicas import ALIAS, Replica
from tests.integration.replicas import replica as replica  # noqa: PLC0414 (a fixture)
from xblock_user_state.actions import override_score
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import UserId

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()


@pytest.fixture
def staff(replica: Replica, login: Login, settings: Settings) -> Client:
    settings.XBLOCK_USER_STATE = {"REPLICA": ALIAS}
    return login("*")


def reports(staff: Client) -> tuple[str, str, str]:
    """Return the page of the block, the first line of its file, and the list of learners."""
    answer: Any = staff.get(address("responses", COURSE, BLOCK, "csv"))
    line = b"".join(answer.streaming_content).decode().splitlines()[1]
    return read(staff, address("block", COURSE, BLOCK)), line, read(staff, address("learners"))


def test_reports_read_the_replica_and_an_action_is_seen_at_once(staff: Client, replica: Replica, ann: User) -> None:
    client = DjangoXBlockUserStateClient()
    client.set_score("ann", BLOCK, 1, 9)
    replica.catch_up()
    client.set_score("ann", BLOCK, 2, 9)
    block, line, learners = reports(staff)
    assert "1 / 9" in block
    assert ",1.0,9.0," in line
    assert "1 / 9" in learners
    # One learner's pages are of now.
    assert "2 / 9" in read(staff, history_address())

    actor = User.objects.get(username="staff")
    override_score({UserId(ann.pk): [BLOCK]}, grade=3, max_grade=9, actor=actor, reason="a test")
    block, line, learners = reports(staff)
    assert "3 / 9" in block
    assert ",3.0,9.0," in line
    assert "3 / 9" in learners

    replica.catch_up()
    client.set_score("ann", BLOCK, 4, 9)
    assert "3 / 9" in read(staff, address("block", COURSE, BLOCK))


def test_a_course_reads_the_replica(staff: Client, replica: Replica, ann: User) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"n": 1})
    replica.catch_up()
    make_learners("bob")
    DjangoXBlockUserStateClient().set("bob", BLOCK, {"n": 1})
    page = read(staff, address("course", COURSE))
    assert "1 learner" in page
    assert "2 learners" not in page

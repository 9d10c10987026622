"""Only staff read the console, and a refusal says nothing of what exists."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from opaque_keys.edx.locator import CourseLocator

from tests.factories import COURSE, make_block
from tests.integration.console.conftest import Login
from tests.integration.console.reading import address, history_address
from tests.integration.statements import captured
from xblock_user_state.access import Action
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.console.hosts import ConsoleHost
from xblock_user_state.console.urls import urlpatterns
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.models import LoggedAction

COMPARED = {"old": 1, "new": 2}
RUN = uuid4()
NOW = datetime.now(UTC)


def addresses(username: str) -> dict[str, str]:
    """Return an address of each page that is about a learner or a course."""
    return {
        "learners": address("learners"),
        "health": address("health"),
        "learner": address("learner", username),
        "in_course": address("in_course", username, COURSE),
        "history": history_address(username),
        "compare": address("compare", username, COURSE, make_block(), **COMPARED),
        "course": address("course", COURSE),
        "block": address("block", COURSE, make_block()),
        "responses": address("responses", COURSE, make_block(), "csv"),
        "actions": address("actions"),
        "action": address("action", RUN),
        "undo": address("undo", RUN),
        "act_on_block": address("act_on_block", username, COURSE, make_block(), "reset_attempts"),
        "act_on_course": address("act_on_course", username, COURSE, "reset_attempts"),
        "act_all_block": address("act_all_block", COURSE, make_block(), "reset_attempts"),
        "act_all_course": address("act_all_course", COURSE, "reset_attempts"),
        "move_on_block": address("move_on_block", username, COURSE, make_block()),
        "move_all_block": address("move_all_block", COURSE, make_block()),
        "export_learner": address("export_learner", username),
        "erase_learner": address("erase_learner", username),
    }


ACTING = {name for name in addresses("ann") if name.startswith(("act_", "move_")) or name == "undo"}


@pytest.fixture(autouse=True)
def state(ann: User) -> None:
    LoggedAction.objects.create(
        run=RUN, act="reset_attempts", actor=ann, student=ann, revision_before=1, revision_after=2, created=NOW
    )
    for number in (1, 2):
        DjangoXBlockUserStateClient().set("ann", make_block(), {"a": number})


def test_every_page_is_tested_here() -> None:
    assert {*addresses("ann")} | {"health_json"} == {pattern.name for pattern in urlpatterns}


@pytest.mark.parametrize("name", addresses("ann"))
def test_nobody_is_sent_to_the_login_page(name: str) -> None:
    url = addresses("ann")[name]
    answer = Client().get(url)
    assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/login/")


@pytest.mark.parametrize("name", addresses("ann"))
def test_learners_are_refused_before_anything_is_looked_up(name: str, ann: User) -> None:
    client = Client()
    client.force_login(ann)
    for username in ("ann", "nobody"):
        with captured() as found:
            assert client.get(addresses(username)[name]).status_code == 403
            assert client.post(addresses(username)[name], {"reason": "x", "who": "all"}).status_code == 403
        assert not [text for text in found if "xblock_user_state" in text]


@pytest.mark.parametrize("name", addresses("ann"))
def test_superusers_read_every_page(name: str, login: Login) -> None:
    answer = login("*").get(addresses("ann")[name])
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "private, no-store"


def test_states_and_history_are_permissions_of_their_own(login: Login) -> None:
    client = login("view_studentmodule")
    found = {name: client.get(url).status_code for name, url in addresses("ann").items()}
    refused = {"history", "compare", "health", "export_learner", "erase_learner"} | ACTING
    assert found == {name: 403 if name in refused else 200 for name in found}


def test_acting_and_erasing_are_permissions_of_their_own(login: Login) -> None:
    client = login("change_studentmodule")
    found = {name: client.get(url).status_code for name, url in addresses("ann").items()}
    assert found == {name: 200 if name in ACTING else 403 for name in found}


@pytest.mark.parametrize(
    "url",
    [
        address("learner", "nobody"),
        address("in_course", "nobody", COURSE),
        address("in_course", "ann", "no course"),
        history_address("nobody"),
        history_address(block=make_block("missing")),
        address("history", "ann", COURSE, "no block"),
        address("compare", "ann", COURSE, make_block(), old=1, new=9),
        address("compare", "ann", COURSE, make_block(), old=1),
        address("learner", "a\0b"),
        address("block", "no course", "no block"),
        address("action", uuid4()),
        address("action", RUN, course=str(COURSE)),
        address("action", RUN, course="no course"),
    ],
)
def test_unknown_learners_courses_and_blocks_are_not_found(staff: Client, url: str) -> None:
    assert staff.get(url).status_code == 404


def of_this_course(user: User, context_key: object) -> bool:
    return str(context_key) == str(COURSE)


@override_settings(XBLOCK_USER_STATE={"STAFF_COURSES": f"{__name__}.of_this_course"})
def test_permissions_may_count_for_some_courses(staff: Client) -> None:
    other = CourseLocator("Org", "Other", "r")
    found = {
        address("learners"): 403,
        address("learners", course=str(COURSE)): 200,
        address("learners", course=str(other)): 403,
        address("learner", "ann"): 403,
        address("in_course", "ann", COURSE): 200,
        address("in_course", "ann", other): 403,
        address("in_course", "nobody", other): 403,
        history_address(): 200,
        address("block", COURSE, make_block()): 200,
        address("block", other, make_block(course=other)): 403,
        address("actions"): 403,
        address("actions", course=str(COURSE)): 200,
        address("action", RUN): 403,
        address("action", RUN, course=str(other)): 403,
    }
    assert {url: staff.get(url).status_code for url in found} == found


class Nobody:
    """A policy that lets nobody see anything, but for one page."""

    def may(self, actor: User, action: Action, *where: object) -> bool:
        return (actor.username, action) == ("ann", Action.REPORT)


class NobodyForAReason(Nobody):
    def may(self, actor: User, action: Action, *where: object) -> bool:
        if super().may(actor, action, *where):
            return True
        raise PermissionDenied("the course is closed")


class HostWithPolicy(ConsoleHost):
    policy = Nobody()


@pytest.mark.parametrize(
    "setting",
    [
        {"CONSOLE_HOST": f"{__name__}.HostWithPolicy"},
        {"POLICY": f"{__name__}.Nobody"},
        {"POLICY": f"{__name__}.NobodyForAReason"},
    ],
    ids=str,
)
def test_the_hosts_policy_is_asked(ann: User, login: Login, setting: Any) -> None:
    with override_settings(XBLOCK_USER_STATE=setting):
        only_the_policy_decides(ann, login)


def only_the_policy_decides(ann: User, login: Login) -> None:
    root = login("*")
    assert {root.get(url).status_code for name, url in addresses("ann").items() if name != "health"} == {403}
    client = Client()
    client.force_login(ann)
    # Whoever sees all learners sees themselves, too.
    assert client.get(address("learners")).status_code == 200
    assert client.get(history_address("ann")).status_code == 200
    assert client.get(history_address("staff")).status_code == 403


@override_settings(XBLOCK_USER_STATE={"LOG_ACCESS": True})
def test_reads_and_refusals_are_logged(ann: User, staff: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "xblock_user_state.access"):
        staff.get(history_address())
        client = Client()
        client.force_login(ann)
        client.get(address("learners"))
    assert "'staff' may see the history of 'ann'" in caplog.text
    assert "'ann' may not read the states of all learners" in caplog.text

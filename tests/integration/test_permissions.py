"""The default policy of Django hosts, and the log and the metrics of all policies."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.test import override_settings
from opaque_keys.edx.keys import CourseKey

from tests.factories import CCX, COURSE, make_block, make_learners
from tests.integration.measuring import measured as measured  # noqa: PLC0414 (a fixture)
from tests.integration.statements import captured
from tests.sinks import Measurements
from xblock_user_state.access import Action
from xblock_user_state.checks import check_policy, check_settings, check_staff_courses
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.permissions import PERMISSIONS, PermissionPolicy

pytestmark = pytest.mark.django_db

BLOCK = make_block()
OWN = {Action.READ, Action.WRITE, Action.SEE_HISTORY}
ASKED: list[tuple[str, Any]] = []


def teaches(user: User, course_key: CourseKey | None) -> bool:
    """The function of the setting STAFF_COURSES in these tests."""
    ASKED.append((user.username, course_key))
    return course_key == COURSE


IN_ONE_COURSE = override_settings(XBLOCK_USER_STATE={"STAFF_COURSES": f"{__name__}.teaches"})


def allowed(user: Any, learner: str | None = "ann", course: CourseKey | None = COURSE) -> set[Action]:
    return {action for action in Action if PermissionPolicy().may(user, action, learner, course, BLOCK)}


def with_permissions(user: User, *codenames: str) -> User:
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    # Its permissions are cached in the object.
    return User.objects.get(pk=user.pk)


def test_learners_have_their_own_state_and_nothing_else() -> None:
    ann, bob = make_learners("ann", "bob")
    assert allowed(ann) == OWN
    assert allowed(bob) == allowed(AnonymousUser()) == allowed(None) == set()
    assert allowed(bob, None) == {Action.READ, Action.WRITE}
    assert allowed(AnonymousUser(), None) == {Action.READ}


def test_superusers_may_do_all_while_they_are_active() -> None:
    assert allowed(User(username="root", is_superuser=True)) == {*Action}
    assert allowed(User(username="root", is_superuser=True, is_active=False)) == set()
    assert allowed(User(id=9, username="staff", is_staff=True)) == set()


@pytest.mark.parametrize("permission", sorted({*PERMISSIONS.values()}))
def test_a_permission_is_enough_for_its_actions(permission: str) -> None:
    [bob] = make_learners("bob")
    bob = with_permissions(bob, permission.rpartition(".")[2])
    assert allowed(bob) == {action for action, needed in PERMISSIONS.items() if needed == permission} != set()


def test_a_user_without_permissions_of_django_has_none() -> None:
    class Plain:
        is_authenticated = True

        def get_username(self) -> str:
            return "ann"

    assert allowed(Plain()) == OWN
    assert allowed(Plain(), "bob") == set()


@IN_ONE_COURSE
def test_the_setting_limits_permissions_to_courses() -> None:
    ASKED.clear()
    [bob] = make_learners("bob")
    bob = with_permissions(bob, "view_studentmodule")
    assert allowed(bob) == {Action.READ, Action.REPORT}
    assert allowed(bob, course=CCX) == allowed(bob, course=None) == set()
    # Asked once for a course, not for each block.
    assert ASKED == [("bob", COURSE), ("bob", CCX), ("bob", None)]
    assert allowed(User(username="root", is_superuser=True), course=CCX) == {*Action}
    assert allowed(bob, "bob", CCX) == OWN


def test_permissions_take_no_statement_a_block() -> None:
    make_learners("ann", "bob")
    client = DjangoXBlockUserStateClient(User.objects.get(username="bob"), PermissionPolicy())
    superuser = DjangoXBlockUserStateClient(User(username="root", is_superuser=True), PermissionPolicy())
    blocks = [make_block(f"block{number}") for number in range(30)]
    with captured() as few, pytest.raises(PermissionDenied):
        client.get_many("ann", blocks[:1])
    with captured() as none, pytest.raises(PermissionDenied):
        client.get_many("ann", blocks)
    with captured() as of_superuser:
        list(superuser.get_many("ann", blocks))
    # Django's own, for the permissions of the user and of their groups.
    assert (len(few), len(none), len(of_superuser)) == (2, 0, 2)


def test_refusals_and_reads_of_others_are_counted(measured: Measurements) -> None:
    ann, _ = make_learners("ann", "bob")
    root = DjangoXBlockUserStateClient(User(username="root", is_superuser=True), PermissionPolicy())
    own = DjangoXBlockUserStateClient(ann, PermissionPolicy())
    own.set("ann", BLOCK, {"a": 1})
    list(root.get_many("ann", [BLOCK]))
    list(root.get_history("ann", BLOCK))
    list(root.iter_all_for_block(BLOCK))
    root.set("ann", BLOCK, {"a": 2})
    with pytest.raises(PermissionDenied):
        own.set("bob", BLOCK, {"a": 1})
    assert measured.values("access.refused", action="write") == [1]
    assert [measured.total("access.of_others", action=action) for action in Action] == [1, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("is_on", [True, False])
def test_the_log_names_them_if_the_setting_is_on(is_on: bool, caplog: pytest.LogCaptureFixture) -> None:
    ann, _ = make_learners("ann", "bob")
    caplog.set_level(logging.INFO, "xblock_user_state.access")
    root = User(username="root", is_superuser=True)
    with override_settings(XBLOCK_USER_STATE={"LOG_ACCESS": is_on}):
        DjangoXBlockUserStateClient(ann, PermissionPolicy()).set("ann", BLOCK, {"a": 1})
        DjangoXBlockUserStateClient(root, PermissionPolicy()).get("ann", BLOCK)
        with pytest.raises(PermissionDenied):
            DjangoXBlockUserStateClient(ann, PermissionPolicy()).get("bob", BLOCK)
    lines = [f"'root' may read the state of 'ann' in {BLOCK}, {COURSE}"]
    lines += [f"'ann' may not read the state of 'bob' in {BLOCK}, {COURSE}"]
    assert [record.getMessage() for record in caplog.records] == (lines if is_on else [])


@pytest.mark.parametrize(
    ("setting", "ids"),
    [
        ({}, []),
        ({"STAFF_COURSES": f"{__name__}.teaches", "LOG_ACCESS": True}, []),
        ({"STAFF_COURSES": teaches}, ["E004"]),
        ({"STAFF_COURSES": "nowhere.teaches"}, ["E013"]),
        ({"POLICY": PermissionPolicy}, ["E004"]),
        ({"POLICY": "nowhere.Policy"}, ["E014"]),
        ({"LOG_ACCESS": "yes"}, ["E004"]),
        (None, ["E001"]),
    ],
    ids=str,
)
def test_wrong_settings_are_found(setting: Any, ids: list[str]) -> None:
    with override_settings(XBLOCK_USER_STATE=setting):
        found = [*check_settings(), *check_staff_courses(), *check_policy()]
    assert [str(message.id).rpartition(".")[2] for message in found] == ids

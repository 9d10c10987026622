"""The demo's blocks may read other learners' state only as its services allow."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, User

from demo.host.learners import Learner
from demo.host.services import services_for
from tests.factories import make_block
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import UserStateService

BLOCK = make_block()
CLIENT = InMemoryXBlockUserStateClient()
CLIENT.set("ada", BLOCK, {"a": 1})


def service_for(user: User | AnonymousUser) -> UserStateService:
    service = services_for(Learner(user, CLIENT, "somebody"))["user_state"]
    assert isinstance(service, UserStateService)
    return service


@pytest.mark.parametrize("user", [User(username="ada"), User(username="staff", is_staff=True)], ids=str)
def test_learners_read_their_own_state_and_staff_everybodys(user: User) -> None:
    assert service_for(user).get_state("ada", BLOCK) == {"a": 1}


@pytest.mark.parametrize("user", [User(username="ben"), AnonymousUser()], ids=str)
def test_others_state_is_not_for_learners_and_visitors(user: User | AnonymousUser) -> None:
    with pytest.raises(PermissionDenied):
        service_for(user).get_state("ada", BLOCK)
    assert service_for(user).get_state(user.username, BLOCK) == {}

"""The published tests of the contract, none of them overridden, over the Django client."""

from __future__ import annotations

from django.test import TestCase, override_settings
from edx_user_state_client.tests import UserStateClientTestBase

from tests.factories import make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient


@override_settings(XBLOCK_USER_STATE={"RECORDED_BLOCK_TYPES": "*"})
class TestDjangoClient(UserStateClientTestBase, TestCase):
    __test__ = True
    databases = "__all__"

    def setUp(self) -> None:
        super().setUp()
        make_learners(*(f"user{number}" for number in range(5)))
        # Both base classes define `client`: use the one of the published tests, not Django's test client.
        self.client = DjangoXBlockUserStateClient()  # type: ignore[assignment]

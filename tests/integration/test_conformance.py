"""The published tests of the contract, none of them overridden, over the Django client."""

from __future__ import annotations

import pytest
from django.test import TestCase, TransactionTestCase, override_settings
from edx_user_state_client.tests import UserStateClientTestBase

from tests.factories import make_learners
from tests.over_http.callers import make_host
from tests.over_http.service_process import ServiceProcess
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.remote import RemoteXBlockUserStateClient


@override_settings(XBLOCK_USER_STATE={"RECORDED_BLOCK_TYPES": "*"})
class TestDjangoClient(UserStateClientTestBase, TestCase):
    __test__ = True
    databases = "__all__"

    def setUp(self) -> None:
        super().setUp()
        make_learners(*(f"user{number}" for number in range(5)))
        # Both base classes define `client`: use the one of the published tests, not Django's test client.
        self.client = DjangoXBlockUserStateClient()  # type: ignore[assignment]


class TestRemoteClient(UserStateClientTestBase, TransactionTestCase):
    """Over real HTTP, with the service in processes of its own."""

    __test__ = True
    databases = "__all__"

    @pytest.fixture(autouse=True)
    def _keep(self, service: ServiceProcess) -> None:
        self.address = service.address

    def setUp(self) -> None:
        super().setUp()
        make_learners(*(f"user{number}" for number in range(5)))
        client = RemoteXBlockUserStateClient(self.address, make_host())
        self.addCleanup(client.close)
        self.client = client  # type: ignore[assignment]

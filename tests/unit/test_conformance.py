"""The published tests of the contract, none of them overridden, over the in-memory client."""

from __future__ import annotations

from edx_user_state_client.tests import UserStateClientTestBase

from xblock_user_state.memory import InMemoryXBlockUserStateClient


class TestInMemoryClient(UserStateClientTestBase):
    __test__ = True

    def setUp(self) -> None:
        super().setUp()
        self.client = InMemoryXBlockUserStateClient(recorded_block_types="*")

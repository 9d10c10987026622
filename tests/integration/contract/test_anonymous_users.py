"""An anonymous user has no name: reads find nothing, and only state that all learners share can be written."""

from __future__ import annotations

import pytest
from xblock.fields import Scope

from tests.factories import make_block
from xblock_user_state.interface import BlockKey, DoesNotExist, PermissionDenied, XBlockUserStateClient

BLOCK = make_block()
EACH_OWNED_SCOPE = pytest.mark.parametrize(
    ("scope", "key"),
    [(Scope.user_state, BLOCK), (Scope.preferences, "problem"), (Scope.user_info, None)],
    ids=["user_state", "preferences", "user_info"],
)
pytestmark = [
    pytest.mark.not_for_visitors,
    pytest.mark.parametrize("username", ["", None], ids=["no name", "none"]),
]


@EACH_OWNED_SCOPE
def test_reading_finds_nothing(
    client: XBlockUserStateClient, username: str | None, scope: Scope, key: BlockKey
) -> None:
    client.set("ann", key, {"a": 1}, scope)
    assert list(client.get_many(username, [key], scope)) == []
    assert client.get_scores(username, [BLOCK]) == {}
    with pytest.raises(DoesNotExist):
        client.get(username, key, scope)
    with pytest.raises(DoesNotExist):
        next(client.get_history(username, key, scope))


@EACH_OWNED_SCOPE
def test_writing_is_denied_and_names_the_ephemeral_store(
    client: XBlockUserStateClient, username: str | None, scope: Scope, key: BlockKey
) -> None:
    with pytest.raises(PermissionDenied, match="ephemeral store"):
        client.set(username, key, {"a": 1}, scope)
    with pytest.raises(client.PermissionDenied, match="ephemeral store"):
        client.delete(username, key, scope)
    assert list(client.iter_all_for_block(key, scope)) == []


def test_scoring_is_denied(client: XBlockUserStateClient, username: str | None) -> None:
    with pytest.raises(PermissionDenied, match="ephemeral store"):
        client.set_score(username, BLOCK, 1, 2)


def test_what_all_learners_share_needs_no_name(client: XBlockUserStateClient, username: str | None) -> None:
    client.set(username, BLOCK, {"votes": 1}, Scope.user_state_summary)
    found = client.get(username, BLOCK, Scope.user_state_summary)
    assert (found.username, found.state) == (username, {"votes": 1})
    assert client.get("ann", BLOCK, Scope.user_state_summary).state == {"votes": 1}
    client.delete(username, BLOCK, Scope.user_state_summary)
    assert list(client.get_many("ann", [BLOCK], Scope.user_state_summary)) == []

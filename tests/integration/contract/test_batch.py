"""A batch commits many changes of one learner together."""

from __future__ import annotations

from contextlib import suppress

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV2
from xblock.fields import Scope

from tests.factories import make_block, make_blocks
from xblock_user_state.interface import DoesNotExist, PermissionDenied, XBlockUserStateClient

BLOCK = make_block()


def _revisions(client: XBlockUserStateClient) -> int:
    try:
        return len(list(client.get_history("ann", BLOCK)))
    except DoesNotExist:
        return 0


@pytest.mark.not_for_visitors
def test_all_changes_of_a_block_are_one(client: XBlockUserStateClient) -> None:
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"a": 1, "b": 1})
        batch.set_score(BLOCK, 1, 2)
        batch.set(BLOCK, {"b": 2})
        batch.delete(BLOCK, ["a"])
    assert client.get("ann", BLOCK).state == {"b": 2}
    assert client.get_scores("ann", [BLOCK])[BLOCK][:2] == (1.0, 2.0)
    assert [entry.state for entry in client.get_history("ann", BLOCK)] == [{"b": 2}]


@pytest.mark.not_for_visitors
def test_changes_apply_in_the_order_of_their_calls(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"old": 0})
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"a": 1, "b": 1})
        batch.delete(BLOCK, ["a"])
        batch.set(BLOCK, {"a": 2})
        batch.set_score(BLOCK, 1, 1)
        batch.set_score(BLOCK, 2, 3)
    assert client.get("ann", BLOCK).state == {"old": 0, "b": 1, "a": 2}
    assert list(client.get("ann", BLOCK).state or {}) == ["old", "b", "a"]
    assert client.get_scores("ann", [BLOCK])[BLOCK][:2] == (2.0, 3.0)
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"c": 1})
        batch.delete(BLOCK)
        batch.set(BLOCK, {"d": 1})
    assert client.get("ann", BLOCK).state == {"d": 1}
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"e": 1})
        batch.delete(BLOCK)
    assert list(client.get_many("ann", [BLOCK])) == []
    assert _revisions(client) == 4


@pytest.mark.not_for_visitors
def test_changes_that_undo_each_other_change_nothing(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 2)
    before = client.get("ann", BLOCK)
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"a": 2, "b": 2})
        batch.delete(BLOCK, ["b"])
        batch.set(BLOCK, {"a": 1})
        batch.set_score(BLOCK, 2, 2)
        batch.set_score(BLOCK, 1, 2)
    assert client.get("ann", BLOCK) == before
    assert _revisions(client) == 2


def test_a_batch_changes_blocks_and_scopes_together(client: XBlockUserStateClient) -> None:
    one, two, aside = BLOCK, make_block("two", "video"), AsideUsageKeyV2(BLOCK, "notes")
    with client.batch("ann") as batch:
        batch.set("problem", {"of": "type"}, Scope.preferences)
        batch.set(None, {"of": "learner"}, Scope.user_info)
        batch.set(one, {"of": "all"}, Scope.user_state_summary)
        batch.set(one, {"of": "one"})
        batch.set(two, {"of": "two"})
        batch.set(aside, {"of": "aside"})
    found = [
        client.get("ann", "problem", Scope.preferences),
        client.get("ann", None, Scope.user_info),
        client.get("ann", one, Scope.user_state_summary),
        *client.get_many("ann", [one, two, aside]),
    ]
    assert [item.state for item in found] == [{"of": of} for of in ("type", "learner", "all", "one", "two", "aside")]


def test_deleting_works_in_every_scope(client: XBlockUserStateClient) -> None:
    places = [("problem", Scope.preferences), (None, Scope.user_info), (BLOCK, Scope.user_state_summary)]
    for key, scope in places:
        client.set("ann", key, {"a": 1, "b": 2}, scope)
    with client.batch("ann") as batch:
        for key, scope in places:
            batch.delete(key, fields=["a"], scope=scope)
    assert [client.get("ann", key, scope).state for key, scope in places] == [{"b": 2}] * 3
    with client.batch("ann") as batch:
        for key, scope in places:
            batch.delete(key, scope=scope)
    assert [item for key, scope in places for item in client.get_many("ann", [key], scope)] == []


class BodyFailed(BaseException):
    """Raised in a body. Not an ``Exception``, like the error that kills a request."""


@pytest.mark.not_for_visitors
def test_nothing_is_committed_if_the_body_raises(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    with suppress(BodyFailed), client.batch("ann") as batch:
        batch.set(BLOCK, {"a": 2})
        batch.set_score(BLOCK, 1, 2)
        batch.set("problem", {"a": 1}, Scope.preferences)
        raise BodyFailed
    assert client.get("ann", BLOCK).state == {"a": 1}
    assert client.get_scores("ann", [BLOCK]) == {}
    assert list(client.get_many("ann", ["problem"], Scope.preferences)) == []
    assert _revisions(client) == 1


def test_nothing_is_committed_if_a_change_in_it_is_refused(client: XBlockUserStateClient) -> None:
    with suppress(TypeError), client.batch("ann") as batch:
        batch.set(BLOCK, {"a": 2})
        batch.set(make_block("other"), {"a": object()})
        pytest.fail("the object was taken")
    assert list(client.get_many("ann", [BLOCK])) == []


@pytest.mark.not_for_visitors
def test_reads_do_not_see_a_batch_before_it_ends(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"a": 2})
        batch.set_score(BLOCK, 1, 2)
        assert client.get("ann", BLOCK).state == {"a": 1}
        assert client.get_scores("ann", [BLOCK]) == {}
        assert len(list(client.get_history("ann", BLOCK))) == 1
    assert client.get("ann", BLOCK).state == {"a": 2}


@pytest.mark.not_for_visitors
def test_calls_on_the_client_do_not_join_a_batch(client: XBlockUserStateClient) -> None:
    with suppress(BodyFailed), client.batch("ann") as batch:
        batch.set(BLOCK, {"batch": 1})
        client.set("ann", BLOCK, {"client": 1})
        assert client.get("ann", BLOCK).state == {"client": 1}
        raise BodyFailed
    assert client.get("ann", BLOCK).state == {"client": 1}
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"batch": 1, "both": "batch"})
        client.set("ann", BLOCK, {"both": "client"})
    assert client.get("ann", BLOCK).state == {"client": 1, "both": "batch", "batch": 1}
    assert _revisions(client) == 3


def test_batches_are_apart_from_each_other(client: XBlockUserStateClient) -> None:
    with client.batch("ann") as outer, client.batch("bob") as inner:
        outer.set(BLOCK, {"who": "ann"})
        inner.set(BLOCK, {"who": "bob"})
    assert client.get("ann", BLOCK).state == {"who": "ann"}
    assert client.get("bob", BLOCK).state == {"who": "bob"}


def test_a_batch_has_taken_its_values_when_the_call_returns(client: XBlockUserStateClient) -> None:
    given = {"list": [1]}
    with client.batch("ann") as batch:
        batch.set(BLOCK, given)
        given["list"].append(2)
    assert client.get("ann", BLOCK).state == {"list": [1]}


def test_a_batch_without_changes_changes_nothing(client: XBlockUserStateClient) -> None:
    with client.batch("ann"):
        pass
    with client.batch("ann") as batch:
        batch.set(BLOCK, {})
        batch.delete(BLOCK)
        batch.set_score(BLOCK, None, None)
    assert list(client.get_many("ann", [BLOCK])) == []
    assert _revisions(client) == 0


def test_many_blocks_in_one_batch(client: XBlockUserStateClient) -> None:
    keys = make_blocks(50)
    with client.batch("ann") as batch:
        for number, key in enumerate(keys):
            batch.set(key, {"number": number})
            batch.set_score(key, number, 50)
    assert [item.state for item in client.get_many("ann", keys)] == [{"number": number} for number in range(50)]
    assert len(client.get_scores("ann", keys)) == 50


def test_a_batch_of_the_shared_scope_alone_needs_no_learner(client: XBlockUserStateClient) -> None:
    with client.batch(None) as batch:
        batch.set(BLOCK, {"votes": 1}, Scope.user_state_summary)
    assert client.get(None, BLOCK, Scope.user_state_summary).state == {"votes": 1}


@pytest.mark.not_for_visitors
def test_a_batch_for_an_anonymous_learner_is_refused_as_a_whole(client: XBlockUserStateClient) -> None:
    batches = client.batch("")
    batch = batches.__enter__()
    batch.set(BLOCK, {"votes": 1}, Scope.user_state_summary)
    batch.set(BLOCK, {"mine": 1})
    with pytest.raises(PermissionDenied, match="ephemeral"):
        batches.__exit__(None, None, None)
    assert list(client.get_many("ann", [BLOCK], Scope.user_state_summary)) == []


def test_a_batch_that_has_ended_takes_no_more_changes(client: XBlockUserStateClient) -> None:
    """The client would silently drop them."""
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"a": 1})
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        batch.set(BLOCK, {"a": 2})


@pytest.mark.not_for_visitors
def test_a_batch_for_what_is_new_leaves_alone_what_is_there(client: XBlockUserStateClient) -> None:
    new, with_state, with_score, deleted = make_blocks(4)
    client.set("ann", with_state, {"a": 1})
    client.set_score("ann", with_score, 1, 2)
    client.set("ann", deleted, {"a": 1})
    client.delete("ann", deleted)
    client.set("ann", "problem", {"a": 1}, Scope.preferences)
    client.set("bob", new, {"whose": "bob's"})
    with client.batch("ann", only_new=True) as batch:
        for key in (new, with_state, with_score, deleted):
            batch.set(key, {"a": 2})
            batch.set(key, {"b": 2})
            batch.set_score(key, 2, 2)
        batch.set("problem", {"b": 2}, Scope.preferences)
        batch.set("video", {"b": 2}, Scope.preferences)
    blocks = [new, with_state, with_score, deleted]
    assert {found.block_key: found.state for found in client.get_many("ann", blocks)} == {
        new: {"a": 2, "b": 2},
        with_state: {"a": 1},
    }
    scores = client.get_scores("ann", blocks)
    assert {key: score[:2] for key, score in scores.items()} == {new: (2, 2), with_score: (1, 2)}
    assert client.get("bob", new).state == {"whose": "bob's"}
    types = client.get_many("ann", ["problem", "video"], Scope.preferences)
    assert {found.block_key: found.state for found in types} == {"problem": {"a": 1}, "video": {"b": 2}}
    assert [len(list(client.get_history("ann", key))) for key in blocks] == [1, 1, 1, 2]


@pytest.mark.not_for_visitors
def test_a_batch_for_what_is_new_changes_nothing_the_second_time(client: XBlockUserStateClient) -> None:
    for number in range(2):
        with client.batch("ann", only_new=True) as batch:
            batch.set(BLOCK, {"a": number})
    assert client.get("ann", BLOCK).state == {"a": 0}
    assert _revisions(client) == 1

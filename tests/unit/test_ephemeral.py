"""Visitors' state: in the cache, separate, bounded, temporary, and adopted by an account at login."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import cache
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_blocks
from xblock_user_state.ephemeral import EphemeralXBlockUserStateClient, entry, visitor_id
from xblock_user_state.ephemeral.entry import VisitorEntry
from xblock_user_state.interface import (
    BlockKey,
    Conflict,
    ConflictingRow,
    DoesNotExist,
    PermissionDenied,
    ServiceUnavailable,
)
from xblock_user_state.memory import InMemoryXBlockUserStateClient

BLOCK = make_block()
LOCK = entry.KEY.format("visitor") + ".lock"


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def accounts() -> InMemoryXBlockUserStateClient:
    return InMemoryXBlockUserStateClient()


@pytest.fixture
def client(accounts: InMemoryXBlockUserStateClient) -> EphemeralXBlockUserStateClient:
    return EphemeralXBlockUserStateClient("visitor", accounts)


def test_a_later_request_finds_what_an_earlier_one_kept(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    client.set("", BLOCK, {"a": 1})
    client.set_score(None, BLOCK, 1, 2)
    again = EphemeralXBlockUserStateClient("visitor", accounts)
    assert again.get(None, BLOCK).state == {"a": 1}
    assert again.get_scores("", [BLOCK])[BLOCK][:2] == (1, 2)
    assert list(accounts.iter_all_for_block(BLOCK)) == []


def test_visitors_are_apart(accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient) -> None:
    client.set("", BLOCK, {"a": 1})
    assert list(EphemeralXBlockUserStateClient("other", accounts).get_many("", [BLOCK])) == []


def test_usernames_are_refused(client: EphemeralXBlockUserStateClient) -> None:
    for attempt in (
        lambda: client.set("ann", BLOCK, {"a": 1}),
        lambda: client.get("ann", BLOCK),
        lambda: client.get_scores("ann", [BLOCK]),
        lambda: client.get_history("ann", BLOCK),
    ):
        with pytest.raises(PermissionDenied, match="nothing of 'ann'"):
            attempt()


def test_there_is_no_history(client: EphemeralXBlockUserStateClient) -> None:
    client.set("", BLOCK, {"a": 1})
    history = client.get_history("", BLOCK)
    with pytest.raises(DoesNotExist, match="visitor"):
        next(history)


def test_visitors_do_not_iterate_over_learners(client: EphemeralXBlockUserStateClient) -> None:
    with pytest.raises(PermissionDenied, match="all learners"):
        client.iter_all_for_block(BLOCK)
    with pytest.raises(PermissionDenied, match="all learners"):
        client.iter_all_for_course(COURSE)


def test_what_all_share_is_read_and_changed_in_a_copy_only(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    shared, scope = make_blocks(2), Scope.user_state_summary
    accounts.set_many("ann", {key: {"votes": [1], "words": "a"} for key in shared}, scope)
    client.set("", shared[0], {"votes": [1, 2]}, scope)
    client.delete("", shared[1], scope, ["words"])
    accounts.set("ann", make_block("later"), {"votes": [3]}, scope)
    found = client.get_many("", [*shared, make_block("later")], scope)
    assert [each.state for each in found] == [{"votes": [1, 2], "words": "a"}, {"votes": [1]}, {"votes": [3]}]
    assert [each.state for each in accounts.get_many("ann", shared, scope)] == [{"votes": [1], "words": "a"}] * 2


def test_a_copy_without_fields_hides_the_shared_state(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    accounts.set("ann", BLOCK, {"votes": 1}, Scope.user_state_summary)
    client.delete("", BLOCK, Scope.user_state_summary)
    assert list(client.get_many("", [BLOCK], Scope.user_state_summary)) == []


def test_what_changes_nothing_makes_no_copy(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    accounts.set("ann", BLOCK, {"votes": 1}, Scope.user_state_summary)
    client.set("", BLOCK, {"votes": 1}, Scope.user_state_summary)
    accounts.set("ann", BLOCK, {"votes": 2}, Scope.user_state_summary)
    assert client.get("", BLOCK, Scope.user_state_summary).state == {"votes": 2}


def test_a_copy_goes_on_from_the_shared_revision(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    scope = Scope.user_state_summary
    for votes in (1, 2, 3):
        accounts.set("ann", BLOCK, {"votes": votes}, scope)
    stale = client.get("", BLOCK, scope)
    accounts.set("ann", BLOCK, {"votes": 4}, scope)
    with pytest.raises(Conflict) as raised:
        client.set("", BLOCK, {"votes": 4}, scope, if_revision=stale.revision)
    assert [*raised.value.rows] == [ConflictingRow(scope, BLOCK, 3, 4)]
    client.set("", BLOCK, {"votes": 5}, scope, if_revision=4)
    assert client.get("", BLOCK, scope).revision == 5
    assert accounts.get("ann", BLOCK, scope).state == {"votes": 4}


def test_the_revisions_of_an_adopted_block_begin_anew(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    for value in (1, 2, 3):
        client.set("", BLOCK, {"a": value})
    client.adopt_into(accounts, "ann")
    assert accounts.get("ann", BLOCK).revision == 1


def test_state_is_gone_some_time_after_the_last_change(
    accounts: InMemoryXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    # The cache's clock.
    monkeypatch.setattr(time, "time", lambda: now)
    client = EphemeralXBlockUserStateClient("visitor", accounts, timeout=10)
    client.set("", BLOCK, {"a": 1})
    now += 7
    client.set("", BLOCK, {"b": 1})
    now += 7
    assert client.get("", BLOCK).state == {"a": 1, "b": 1}
    now += 5
    assert list(client.get_many("", [BLOCK])) == []


def test_state_is_bounded_in_size(accounts: InMemoryXBlockUserStateClient) -> None:
    client = EphemeralXBlockUserStateClient("visitor", accounts, max_bytes=2000)
    client.set("", BLOCK, {"a": "x" * 1000})
    with pytest.raises(PermissionDenied, match="2000 bytes"):
        client.set("", make_block("other"), {"a": "x" * 1000})
    for number in range(10):
        try:
            client.set("", make_block(f"small{number}"), {"a": number})
        except PermissionDenied:
            break
    else:
        pytest.fail("ten more rows were taken")
    assert client.get("", BLOCK).state == {"a": "x" * 1000}
    client.delete("", BLOCK)
    client.set("", make_block("other"), {"a": 1})


def test_a_batch_is_kept_as_a_whole_or_not_at_all(accounts: InMemoryXBlockUserStateClient) -> None:
    client = EphemeralXBlockUserStateClient("visitor", accounts, max_bytes=2000)
    with pytest.raises(PermissionDenied):
        client.set_many("", {BLOCK: {"a": 1}, make_block("large"): {"a": "x" * 2000}})
    assert list(client.get_many("", [BLOCK])) == []


@pytest.mark.usefixtures("eager_threads")
def test_concurrent_requests_lose_nothing(accounts: InMemoryXBlockUserStateClient) -> None:
    def write(name: str) -> None:
        for number in range(25):
            EphemeralXBlockUserStateClient("visitor", accounts).set("", BLOCK, {f"{name}{number}": number})

    threads = [Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = EphemeralXBlockUserStateClient("visitor", accounts).get("", BLOCK).state
    assert len(state or {}) == 100


def test_a_request_that_died_holds_up_the_others_for_a_time_only(client: EphemeralXBlockUserStateClient) -> None:
    cache.add(LOCK, "of a process that is dead", 1)
    client.set("", BLOCK, {"a": 1})
    assert client.get("", BLOCK).state == {"a": 1}
    assert cache.get(LOCK) is None


def test_waiting_too_long_for_the_lock_is_unavailable(
    client: EphemeralXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "WAIT_SECONDS", 0.05)
    cache.add(LOCK, "of a process that is slow", 60)
    with pytest.raises(ServiceUnavailable, match="too long"):
        client.set("", BLOCK, {"a": 1})
    assert cache.get(LOCK) == "of a process that is slow"


def test_a_write_that_lost_the_lock_is_repeated(client: EphemeralXBlockUserStateClient) -> None:
    client.set("", BLOCK, {"a": 1})
    seen = []

    def stall(rows: entry.Rows) -> entry.Rows:
        seen.append(rows)
        if len(seen) == 1:
            cache.delete(LOCK)
            client.set("", BLOCK, {"b": 1})
        return {place: row._replace(text=f'{(row.text or "")[:-1]},"c":1}}') for place, row in rows.items()}

    VisitorEntry("visitor", "default", 60, 10_000).change(stall)
    assert len(seen) == 2
    assert client.get("", BLOCK).state == {"a": 1, "b": 1, "c": 1}


def test_an_account_adopts_states_and_scores(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    one, scored, deleted = make_blocks(3)
    client.set("", one, {"a": 1})
    client.set("", one, {"a": 2, "b": [None]})
    client.set_score("", one, 1, 2)
    client.set_score("", scored, 0, 1)
    client.set("", deleted, {"a": 1})
    client.delete("", deleted)
    client.set("", "problem", {"a": 1}, Scope.preferences)
    client.set("", None, {"a": 1}, Scope.user_info)
    client.adopt_into(accounts, "ann")
    assert [each.state for each in accounts.get_many("ann", [one, scored, deleted])] == [{"a": 2, "b": [None]}]
    scores = accounts.get_scores("ann", [one, scored, deleted])
    assert {key: score[:2] for key, score in scores.items()} == {one: (1, 2), scored: (0, 1)}
    assert accounts.get("ann", "problem", Scope.preferences).state == {"a": 1}
    assert accounts.get("ann", None, Scope.user_info).state == {"a": 1}
    assert [len(list(accounts.get_history("ann", key))) for key in (one, scored)] == [1, 1]
    with pytest.raises(DoesNotExist):
        next(accounts.get_history("ann", deleted))


def test_what_the_account_has_stays(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    places: list[tuple[BlockKey, Scope]] = [
        (BLOCK, Scope.user_state),
        ("problem", Scope.preferences),
        (None, Scope.user_info),
    ]
    for key, scope in places:
        accounts.set("ann", key, {"a": "the account's"}, scope)
        client.set("", key, {"a": "the visitor's", "b": 1}, scope)
    client.set("", make_block("new"), {"a": "the visitor's"})
    client.adopt_into(accounts, "ann")
    assert [accounts.get("ann", key, scope).state for key, scope in places] == [{"a": "the account's"}] * 3
    assert accounts.get("ann", make_block("new")).state == {"a": "the visitor's"}


def test_adopting_twice_changes_nothing(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    client.set("", BLOCK, {"a": 1})
    client.adopt_into(accounts, "ann")
    accounts.delete("ann", BLOCK)
    client.adopt_into(accounts, "ann")
    client.adopt_into(accounts, "bob")
    assert len(list(accounts.get_history("ann", BLOCK))) == 2
    assert [found.username for found in accounts.iter_all_for_block(BLOCK)] == []


def test_after_adoption_the_visitor_has_nothing_and_may_keep_nothing(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    client.set("", BLOCK, {"a": 1})
    client.adopt_into(accounts, "ann")
    assert list(client.get_many("", [BLOCK])) == []
    with pytest.raises(PermissionDenied, match="logged in"):
        client.set("", BLOCK, {"a": 2})


def test_a_late_request_of_a_visitor_without_state_is_not_lost_in_silence(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    client.adopt_into(accounts, "ann")
    with pytest.raises(PermissionDenied, match="logged in"):
        client.set("", BLOCK, {"a": 2})


def test_an_adoption_that_fails_leaves_all_as_it_was(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    client.set("", BLOCK, {"a": 1})
    with pytest.raises(PermissionDenied, match="ephemeral store"):
        client.adopt_into(accounts, "")
    assert client.get("", BLOCK).state == {"a": 1}
    client.adopt_into(accounts, "ann")
    assert accounts.get("ann", BLOCK).state == {"a": 1}


def test_a_vote_that_nobody_counted_is_not_adopted(
    accounts: InMemoryXBlockUserStateClient, client: EphemeralXBlockUserStateClient
) -> None:
    poll = make_block("poll", "poll")
    accounts.set("bob", poll, {"tally": 1}, Scope.user_state_summary)
    with client.batch("") as batch:
        batch.set(poll, {"voted": True})
        batch.set(poll, {"tally": 2}, Scope.user_state_summary)
        batch.set(BLOCK, {"a": 1})
    client.adopt_into(accounts, "ann")
    assert [each.block_key for each in accounts.get_many("ann", [poll, BLOCK])] == [BLOCK]
    assert accounts.get("ann", poll, Scope.user_state_summary).state == {"tally": 1}


def test_the_id_of_a_sessions_visitor_stays_the_same_and_is_no_others() -> None:
    one, other = SessionStore(), SessionStore()
    assert visitor_id(one) == visitor_id(one)
    assert len(visitor_id(one)) == 32
    assert visitor_id(one) != visitor_id(other)
    assert one.modified

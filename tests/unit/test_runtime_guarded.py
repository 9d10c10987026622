"""Guarded units of work, and their repetition by `run_guarded`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from tests.blocks import PageRuntime, make_page
from tests.counting import CountingClient
from tests.factories import ADA, BEN, make_block
from xblock_user_state.interface import Conflict, ConflictingRow, EncodedState, UserId
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore, run_guarded

BLOCK = make_block()
OTHER = make_block("moon")
SCOPES = pytest.mark.parametrize(
    ("scope", "owner"),
    [
        (Scope.user_state, BLOCK),
        (Scope.user_state_summary, BLOCK),
        (Scope.preferences, "problem"),
        (Scope.user_info, None),
    ],
    ids=["state", "summary", "preferences", "user_info"],
)


def key(name: str, scope: Scope = Scope.user_state, owner: object = BLOCK, user: Any = ADA) -> KeyValueStore.Key:
    return KeyValueStore.Key(scope, None if scope == Scope.user_state_summary else user.id, owner, name, "xblock.v1")


@pytest.fixture
def client() -> CountingClient:
    """A client with a state of ada."""
    client = CountingClient()
    client.set("ada", BLOCK, {"a": 1, "b": 1})
    return client


@SCOPES
@pytest.mark.parametrize("before", [{}, {"a": 5}], ids=["absent", "stored"])
@pytest.mark.parametrize("by_prefetch", [False, True])
def test_a_row_that_was_read_and_changed_meanwhile_is_a_conflict(
    scope: Scope, owner: Any, before: dict[str, int], by_prefetch: bool
) -> None:
    client = InMemoryXBlockUserStateClient()
    client.set("ada", owner, before, scope)
    kvs = UserStateKeyValueStore(client, ADA)
    if by_prefetch:
        kvs.prefetch_rows(scope, [owner])
    revision = 1 if before else 0

    def work() -> None:
        with kvs.unit_of_work(guarded=True):
            count = kvs.get(key("a", scope, owner)) if kvs.has(key("a", scope, owner)) else 0
            client.set("ada", owner, {"z": 1}, scope)
            kvs.set(key("a", scope, owner), count + 1)
            kvs.set(key("c", Scope.user_state, OTHER), 1)

    with pytest.raises(Conflict) as conflict:
        work()
    assert conflict.value.rows == [ConflictingRow(scope, _canonical(scope, owner), revision, revision + 1)]
    assert client.get("ada", owner, scope).state == {**before, "z": 1}
    assert client.get_encoded("ada", [OTHER]) == {}


def _canonical(scope: Scope, owner: Any) -> Any:
    return UserStateKeyValueStore(InMemoryXBlockUserStateClient(), ADA)._address(key("a", scope, owner)).block_key


def test_a_row_that_was_only_written_is_not_guarded(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    kvs.prefetch_rows(Scope.user_state, [BLOCK])
    with kvs.unit_of_work(guarded=True):
        client.set("ada", BLOCK, {"z": 1})
        kvs.set(key("a"), 2)
        assert kvs.get(key("a")) == 2
        kvs.delete(key("b"))
    assert client.get("ada", BLOCK).state == {"a": 2, "z": 1}


def test_a_row_that_was_only_read_is_not_guarded(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    with kvs.unit_of_work(guarded=True):
        kvs.get(key("a"))
        client.set("ada", BLOCK, {"z": 1})
        kvs.set(key("a", owner=OTHER), 2)
    assert client.get("ada", OTHER).state == {"a": 2}


def test_a_unit_without_the_guard_overwrites(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    with kvs.unit_of_work():
        kvs.get(key("a"))
        client.set("ada", BLOCK, {"a": 9})
        kvs.set(key("a"), 2)
    assert client.get("ada", BLOCK).state == {"a": 2, "b": 1}


def test_a_read_before_the_unit_counts(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    kvs.has(key("z"))
    client.set("ada", BLOCK, {"a": 9})
    with pytest.raises(Conflict), kvs.unit_of_work(guarded=True):
        kvs.set(key("a"), 2)


@pytest.mark.parametrize("guarded", [(True, False), (False, True)], ids=["outer", "inner"])
def test_nested_units_share_the_guard(
    client: CountingClient, kvs: UserStateKeyValueStore, guarded: tuple[bool, bool]
) -> None:
    outer, inner = guarded

    def work() -> None:
        with kvs.unit_of_work(guarded=outer):
            kvs.get(key("a"))
            client.set("ada", BLOCK, {"a": 9})
            with kvs.unit_of_work(guarded=inner):
                kvs.set(key("a"), 2)
            assert client.commits == 0

    with pytest.raises(Conflict):
        work()
    assert client.get("ada", BLOCK).state == {"a": 9, "b": 1}


def interrupted(kvs: UserStateKeyValueStore) -> None:
    with kvs.unit_of_work(guarded=True):
        kvs.set(key("a"), kvs.get(key("a")) + 1)
        raise ZeroDivisionError


def test_an_exception_ends_the_guard_and_keeps_none(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    with pytest.raises(ZeroDivisionError):
        interrupted(kvs)
    client.set("ada", BLOCK, {"z": 1})
    with kvs.unit_of_work():
        kvs.set(key("a"), 5)
    assert client.get("ada", BLOCK).state == {"a": 5, "b": 1, "z": 1}


def count_up(kvs: UserStateKeyValueStore) -> None:
    with kvs.unit_of_work(guarded=True):
        kvs.set(key("a"), kvs.get(key("a")) + 1)


def test_a_later_unit_goes_on_from_the_commit_of_the_first(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    for _ in range(3):
        count_up(kvs)
    assert client.get("ada", BLOCK).state == {"a": 4, "b": 1}
    assert client.reads == ["user_state"]
    client.set("ada", BLOCK, {"a": 9})
    with pytest.raises(Conflict):
        count_up(kvs)


def test_a_unit_after_a_commit_that_changed_nothing_reads_again(
    client: CountingClient, kvs: UserStateKeyValueStore
) -> None:
    with kvs.unit_of_work(guarded=True):
        kvs.set(key("a"), kvs.get(key("a")))
    count_up(kvs)
    assert client.get("ada", BLOCK).state == {"a": 2, "b": 1}
    assert client.reads == ["user_state"] * 2


def test_a_unit_after_a_save_of_its_own_sees_other_writes(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    kvs.set(key("a"), 2)
    client.set("ada", BLOCK, {"a": 9})
    count_up(kvs)
    assert client.get("ada", BLOCK).state == {"a": 10, "b": 1}


def test_a_score_that_must_be_higher_is_guarded(client: CountingClient) -> None:
    ids, [quiz] = make_page("quiz")
    kvs = UserStateKeyValueStore(client, ADA)
    block = PageRuntime(kvs, ADA, ids).get_block(quiz)

    def work() -> None:
        with kvs.unit_of_work(guarded=True):
            assert block.attempts == 0
            kvs.publish(block, "grade", {"value": 1, "max_value": 4, "only_if_higher": True})
            client.set_score("ada", quiz, 3, 4)

    with pytest.raises(Conflict):
        work()
    assert client.get_scores("ada", [quiz])[quiz].grade == 3


@pytest.mark.parametrize("options", [{"read_only": True}, {"session": {}}], ids=["read_only", "masquerade"])
def test_writes_that_do_not_reach_the_learner_are_not_guarded(client: CountingClient, options: dict[str, Any]) -> None:
    kvs = UserStateKeyValueStore(client, ADA, **options)
    for _ in range(2):
        with kvs.unit_of_work(guarded=True):
            kvs.set(key("a"), kvs.get(key("a")) + 1)
            client.set("ada", BLOCK, {"z": 1})
    assert kvs.get(key("a")) == 3
    assert client.reads == ["user_state"]


def test_a_client_without_revisions_can_not_be_guarded(kvs: UserStateKeyValueStore, client: CountingClient) -> None:
    kvs._row(kvs._address(key("a"))).read(EncodedState('{"a":1}', None))
    with pytest.raises(ValueError, match="revisions"):
        count_up(kvs)
    assert client.commits == 0


def test_work_is_repeated_after_a_conflict(client: CountingClient) -> None:
    attempts = []

    def work() -> int:
        kvs = UserStateKeyValueStore(client, ADA)
        with kvs.unit_of_work(guarded=True):
            attempts.append(kvs.get(key("a")))
            if len(attempts) < 3:
                client.set("ada", BLOCK, {"a": 10 * len(attempts)})
            kvs.set(key("a"), attempts[-1] + 1)
        return len(attempts)

    assert run_guarded(work) == 3
    assert attempts == [1, 10, 20]
    assert client.get("ada", BLOCK).state == {"a": 21, "b": 1}


@pytest.mark.parametrize("attempts", [1, 3])
def test_the_last_conflict_is_raised(client: CountingClient, attempts: int) -> None:
    done = []

    def work() -> None:
        kvs = UserStateKeyValueStore(client, ADA)
        with kvs.unit_of_work(guarded=True):
            done.append(kvs.get(key("a")))
            client.set("ada", BLOCK, {"a": done[-1] + 10})
            kvs.set(key("a"), 0)

    with pytest.raises(Conflict) as conflict:
        run_guarded(work, attempts)
    assert len(done) == attempts
    assert conflict.value.rows == [ConflictingRow(Scope.user_state, BLOCK, attempts, attempts + 1)]


def test_other_errors_are_raised_at_once() -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_guarded(work)
    assert calls == [1]


def test_a_conflict_of_a_conditional_write_is_repeated_without_a_lock(client: CountingClient) -> None:
    revisions = iter([7, 1])
    run_guarded(lambda: client.set("ada", BLOCK, {"a": 2}, if_revision=next(revisions)))
    assert client.get("ada", BLOCK).state == {"a": 2, "b": 1}


def test_no_attempt_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="attempts must be at least 1"):
        run_guarded(lambda: None, 0)


class LockingClient(CountingClient):
    """Records the rows that it locks."""

    def __init__(self) -> None:
        super().__init__()
        self.locks: list[tuple[str | UserId, dict[str, int]]] = []

    def _locked(self, username: str | UserId, rows: Any) -> AbstractContextManager[object]:
        self.locks.append((username, {scope.name: len(keys) for scope, keys in rows.items()}))
        return super()._locked(username, rows)


def test_the_second_attempt_has_the_rows_of_the_unit_locked() -> None:
    client = LockingClient()
    votes = key("votes", Scope.user_state_summary)
    locks_at_start = []

    def work() -> None:
        locks_at_start.append(len(client.locks))
        kvs = UserStateKeyValueStore(client, ADA)
        with kvs.unit_of_work(guarded=True):
            count = kvs.get(votes) if kvs.has(votes) else 0
            if len(locks_at_start) == 1:
                client.set(None, BLOCK, {"votes": 1}, Scope.user_state_summary)
            kvs.set_many({votes: count + 1, key("choice"): "red"})

    run_guarded(work)
    assert locks_at_start == [0, 1]
    assert client.locks == [("ada", {"user_state": 1, "user_state_summary": 1})]
    assert client.get(None, BLOCK, Scope.user_state_summary).state == {"votes": 2}


@pytest.mark.usefixtures("eager_threads")
def test_concurrent_votes_are_all_counted() -> None:
    client = InMemoryXBlockUserStateClient()
    ids, [poll] = make_page("poll")

    def vote(number: int) -> None:
        user = (ADA, BEN)[number % 2]

        def work() -> None:
            kvs = UserStateKeyValueStore(client, user)
            with kvs.unit_of_work(guarded=True):
                PageRuntime(kvs, user, ids).submit(poll, f"answer {number}")

        run_guarded(work, 100)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(vote, range(40)))
    state = client.get(None, poll, Scope.user_state_summary).state
    assert state == {"votes": {f"answer {number}": 1 for number in range(40)}}

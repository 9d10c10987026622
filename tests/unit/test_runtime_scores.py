"""Scores that a host sets beside the fields of its blocks: one change with them, with a time at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from tests.counting import CountingClient
from tests.factories import ADA, make_block
from xblock_user_state.interface import BlockScore, Conflict
from xblock_user_state.runtime import UserStateKeyValueStore, run_guarded

BLOCK = make_block()


def key(name: str) -> KeyValueStore.Key:
    return KeyValueStore.Key(Scope.user_state, ADA.id, BLOCK, name, "xblock.v1")


@pytest.fixture
def client() -> CountingClient:
    return CountingClient()


@pytest.fixture
def kvs(client: CountingClient) -> UserStateKeyValueStore:
    return UserStateKeyValueStore(client, ADA)


def stored(client: CountingClient) -> BlockScore:
    return client.get_scores("ada", [BLOCK])[BLOCK]


def points(score: BlockScore | None) -> tuple[float | None, float | None] | None:
    return score and (score.grade, score.max_grade)


@pytest.mark.parametrize("guarded", [False, True])
def test_a_score_and_fields_that_are_saved_apart_are_one_change(
    client: CountingClient, kvs: UserStateKeyValueStore, guarded: bool
) -> None:
    with kvs.unit_of_work(guarded=guarded):
        updated = kvs.set_score(BLOCK, 1, 2)
        kvs.set(key("attempts"), 1)
        kvs.set_score(BLOCK, 2, 2)
        kvs.set(key("done"), True)
    [entry] = client.get_history("ada", BLOCK)
    assert (entry.state, points(entry.score)) == ({"attempts": 1, "done": True}, (2, 2))
    assert updated is not None
    assert entry.updated >= updated


def test_reads_see_the_score_at_once(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    assert kvs.get_score(BLOCK) is None
    with kvs.unit_of_work():
        first = kvs.set_score(BLOCK, 1, 2)
        assert kvs.get_score(BLOCK) == (1, 2, first)
        kvs.set_score(BLOCK, None, 5)
        assert points(kvs.get_score(BLOCK)) == (None, 5)
        kvs.set_score(BLOCK, None, None)
        assert kvs.get_score(BLOCK) is None
        second = kvs.set_score(BLOCK, 2, 2)
    assert kvs.get_score(BLOCK) == stored(client)
    assert second is not None
    assert stored(client).updated >= second
    with kvs.unit_of_work():
        kvs.set_score(BLOCK, 0, 2)
        collected = kvs.get_score(BLOCK)
        assert collected is not None
        assert collected.created == stored(client).created


def test_the_time_of_the_stored_score_is_that_of_its_row(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    client.set_score("ada", BLOCK, 1, 2)
    with kvs.unit_of_work():
        updated = kvs.set_score(BLOCK, 1, 2)
    assert updated == stored(client).updated
    assert len(list(client.get_history("ada", BLOCK))) == 1


def test_the_row_is_as_new_as_the_time_even_if_the_clock_stands_still(
    client: CountingClient, kvs: UserStateKeyValueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.set_score("ada", BLOCK, 1, 2)
    before = stored(client).updated
    for module in ("runtime.kvs", "memory"):
        monkeypatch.setattr(f"xblock_user_state.{module}.clock", lambda: before - timedelta(days=1))
    with kvs.unit_of_work():
        updated = kvs.set_score(BLOCK, 2, 2)
    assert updated is not None
    assert before < updated <= stored(client).updated


def test_nothing_to_remove_has_no_time(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    assert kvs.set_score(BLOCK, None, None) is None
    with kvs.unit_of_work():
        assert kvs.set_score(BLOCK, None, None) is None
    assert client.get_encoded("ada", [BLOCK]) == {}


def test_a_score_outside_of_a_unit_is_committed_at_once(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    updated = kvs.set_score(BLOCK, 1, 2)
    assert stored(client) == (1, 2, updated)
    assert kvs.get_score(BLOCK) == stored(client)


def test_a_failed_unit_forgets_the_score(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    def work() -> None:
        with kvs.unit_of_work():
            kvs.set_score(BLOCK, 1, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert kvs.get_score(BLOCK) is None
    with kvs.unit_of_work():
        kvs.set(key("a"), 1)
    assert client.get_scores("ada", [BLOCK]) == {}


def test_a_repetition_of_a_guarded_unit_starts_afresh(client: CountingClient) -> None:
    times: list[datetime | None] = []

    def work() -> None:
        kvs = UserStateKeyValueStore(client, ADA)
        with kvs.unit_of_work(guarded=True):
            attempts = kvs.get(key("attempts")) if kvs.has(key("attempts")) else 0
            assert kvs.get_score(BLOCK) is None
            times.append(kvs.set_score(BLOCK, attempts + 1, 9))
            kvs.set(key("attempts"), attempts + 1)
            if len(times) == 1:
                client.set("ada", BLOCK, {"attempts": 5})

    run_guarded(work)
    assert (client.get("ada", BLOCK).state, points(stored(client))) == ({"attempts": 6}, (6, 9))
    assert len(times) == 2
    assert [entry.revision for entry in client.get_history("ada", BLOCK)] == [2, 1]
    assert times[1] is not None
    assert stored(client).updated >= times[1]


def test_the_same_score_by_another_request_is_a_conflict_of_a_guarded_unit(client: CountingClient) -> None:
    kvs = UserStateKeyValueStore(client, ADA)

    def work() -> None:
        with kvs.unit_of_work(guarded=True):
            assert not kvs.has(key("attempts"))
            kvs.set_score(BLOCK, 1, 2)
            client.set_score("ada", BLOCK, 1, 2)

    with pytest.raises(Conflict):
        work()


@pytest.mark.parametrize("options", [{"read_only": True}, {"session": {}}], ids=["read_only", "masquerade"])
def test_scores_of_a_reader_who_leaves_no_trace_are_dropped(client: CountingClient, options: dict[str, Any]) -> None:
    kvs = UserStateKeyValueStore(client, ADA, **options)
    assert kvs.set_score(BLOCK, 1, 2) is not None
    with kvs.unit_of_work():
        kvs.set_score(BLOCK, 1, 2)
        assert points(kvs.get_score(BLOCK)) == (1, 2)
    assert client.get_scores("ada", [BLOCK]) == {}


@pytest.mark.parametrize(("grade", "error"), [("1", TypeError), (float("nan"), ValueError)], ids=repr)
def test_bad_points_are_refused_at_the_call(kvs: UserStateKeyValueStore, grade: Any, error: type[Exception]) -> None:
    with kvs.unit_of_work(), pytest.raises(error, match="grade must be"):
        kvs.set_score(BLOCK, grade, 2)

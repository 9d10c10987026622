"""Metrics of the client agree with the calls and the commits. Outside a transaction, as hosts call it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from pytest_django import Settings
from xblock.fields import Scope

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.interference import just_before, on_another_connection, refusing, unreachable
from tests.integration.measuring import measured as measured  # noqa: PLC0414 (a fixture)
from tests.sinks import Measurements
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import Conflict, ServiceUnavailable
from xblock_user_state.metrics.names import METRICS
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.store import transactions
from xblock_user_state.store.transactions import LostRace

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK, OTHER, THIRD = make_blocks(3)
OF_WRITES = ("set_many", "delete_many", "set_score", "batch", "write")
several_writers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite lets one writer begin at a time: there is no race to lose"
)

Client = DjangoXBlockUserStateClient
Act = Callable[[Client], Any]


@pytest.fixture
def client(measured: Measurements) -> Client:
    make_learners("ann")
    return Client()


def write_metrics(measured: Measurements) -> list[str]:
    """Return the names of the measurements of writes."""
    return [one.name for one in measured if one.name.partition(".")[0] in OF_WRITES]


def batch(client: Client) -> None:
    with client.batch("ann") as changes:
        changes.set(BLOCK, {"batch": 1})
        changes.set_score(BLOCK, 1, 2)
        changes.set(None, {"batch": 2}, Scope.user_info)
        changes.delete(OTHER)


def test_get_many(client: Client, measured: Measurements) -> None:
    client.set_many("ann", {BLOCK: {"a": 1}, OTHER: {"deleted": 1}})
    client.delete("ann", OTHER)
    client.set_score("ann", THIRD, 1, 2)
    measured.clear()
    found = client.get_many("ann", [BLOCK, OTHER, THIRD, make_block("never")])
    assert not measured
    assert next(found).block_key == BLOCK
    # The number of blocks counts, even if the caller reads only the first.
    found.close()  # type: ignore[attr-defined]
    user_state = {"scope": "user_state"}
    assert sorted(one for one in measured if one.name != "get_many.response_time") == [
        ("count", "get_many.empty_state", 1, user_state),
        ("record", "get_many.blks_out", 1, user_state),
        ("record", "get_many.blks_requested", 4, user_state),
        ("record", "get_many.block_size", len("{}"), user_state),
        ("record", "get_many.block_size", len('{"a":1}'), user_state),
    ]
    [time] = measured.values("get_many.response_time")
    assert 0 < time < 60_000


def test_get_is_a_get_many(client: Client, measured: Measurements) -> None:
    client.set("ann", "problem", {"a": 1}, Scope.preferences)
    client.get("ann", "problem", Scope.preferences)
    assert measured.values("get_many.blks_requested", scope="preferences") == [1]
    assert measured.values("get_many.blks_out") == [1]


def test_a_read_without_a_statement_on_state_reports_nothing(client: Client, measured: Measurements) -> None:
    assert list(client.get_many("ann", [])) == []
    assert list(client.get_many("nobody", [BLOCK])) == []
    assert measured == []


def test_set_many(client: Client, measured: Measurements) -> None:
    client.set("ann", BLOCK, {"a": 1, "b": 1})
    client.set("ann", OTHER, {"a": 1})
    measured.clear()
    client.set_many("ann", {BLOCK: {"a": 1, "b": 2, "c": 2}, OTHER: {"a": 1}, THIRD: {"a": 1, "b": 1}})
    assert measured.values("set_many.state_created") == [1]
    assert measured.values("set_many.state_updated") == [1]
    assert sorted(measured.values("set_many.fields_in")) == [1, 2, 3]
    assert sorted(measured.values("set_many.fields_set")) == [1, 2]
    assert sorted(measured.values("set_many.fields_updated")) == [0, 1]
    assert measured.values("set_many.blks_updated", scope="user_state") == [2]
    [time] = measured.values("set_many.response_time")
    assert 0 < time < 60_000
    texts = StudentModule.objects.exclude(revision=1, state='{"a":1}').values_list("state", flat=True)
    assert measured.total("write.state_bytes", operation="set_many", scope="user_state") == len(
        "".join(map(str, texts))
    )


def test_a_set_that_changes_nothing_was_called_and_has_written_nothing(client: Client, measured: Measurements) -> None:
    client.set("ann", BLOCK, {"a": 1})
    measured.clear()
    client.set("ann", BLOCK, {"a": 1})
    assert measured.values("set_many.blks_updated") == [0]
    assert measured.values("set_many.fields_in") == [1]
    assert len(measured.values("set_many.response_time")) == 1
    assert measured.names() <= {"set_many.blks_updated", "set_many.fields_in", "set_many.response_time"} | {
        "transaction.lock_wait"
    }


def test_delete_many(client: Client, measured: Measurements) -> None:
    client.set_many("ann", {BLOCK: {"a": 1, "b": 1}, OTHER: {"a": 1}})
    measured.clear()
    client.delete_many("ann", [BLOCK, OTHER, THIRD], fields=["b", "c"])
    assert measured.values("delete_many.field_count") == [2]
    assert measured.values("delete_many.block_count") == [3]
    assert measured.values("delete_many.blks_updated") == [1]
    assert measured.values("delete_many.empty_state") == []
    assert measured.total("write.state_bytes", operation="delete_many") == len('{"a":1}')
    client.delete_many("ann", [BLOCK, OTHER])
    assert measured.values("delete_many.empty_state") == [1]
    assert measured.values("delete_many.blks_updated") == [1, 2]
    assert len(measured.values("delete_many.response_time", scope="user_state")) == 2


def test_set_score(client: Client, measured: Measurements) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    client.set_score("ann", BLOCK, 1, 2)
    assert measured.values("set_score.blks_updated") == [1, 0]
    assert len(measured.values("set_score.response_time")) == 2
    assert measured.values("set_many.blks_updated") == []


def test_replace(client: Client, measured: Measurements) -> None:
    client.replace("ann", BLOCK, {"a": 1})
    client.replace("ann", BLOCK, {"a": 1})
    assert measured.values("replace.blks_updated") == [1, 0]
    assert len(measured.values("replace.response_time")) == 2
    assert measured.values("write.state_bytes", operation="replace", scope="user_state") == [len('{"a":1}')]


def test_a_batch_is_one_call_of_its_own(client: Client, measured: Measurements) -> None:
    batch(client)
    assert measured.values("batch.blks_updated") == [2]
    assert len(measured.values("batch.response_time")) == 1
    assert measured.values("write.state_bytes", operation="batch", scope="user_state") == [len('{"batch":1}')]
    assert measured.values("write.state_bytes", operation="batch", scope="user_info") == [len('{"batch":2}')]
    assert not [name for name in measured.names() if name.startswith(("set_many", "delete_many", "set_score"))]


def test_the_bytes_of_the_history_are_those_that_are_stored(client: Client, measured: Measurements) -> None:
    for number in range(3):
        client.set_many("ann", {BLOCK: {"answer": str(number) * 50}, make_block("clip", "video"): {"at": number}})
    client.set_score("ann", OTHER, 1, 2)
    bodies = StudentModuleHistory.objects.values_list("body", flat=True)
    assert measured.total("write.history_bytes", store="default") == sum(len(body or b"") for body in bodies)
    assert {one.tags["store"] for one in measured if one.name == "write.history_bytes"} == {"default"}


def test_every_metric_comes_with_the_verb_and_the_tags_it_is_declared_with(
    client: Client, measured: Measurements
) -> None:
    client.set("ann", BLOCK, {"a": 1})
    batch(client)
    client.delete("ann", BLOCK)
    client.set_score("ann", BLOCK, 1, 2)
    client.replace("ann", BLOCK, {})
    list(client.get_many("ann", [BLOCK]))
    declared = {name.partition(".")[2]: metric for name, metric in METRICS.items()}
    for verb, name, _, tags in measured:
        assert tuple(tags) == declared[name].tags
        assert (verb == "count") == (declared[name].kind == "counter")


def test_a_conflict_is_reported_and_no_write(client: Client, measured: Measurements) -> None:
    client.set("ann", BLOCK, {"a": 1})
    measured.clear()
    with pytest.raises(Conflict):
        client.set("ann", BLOCK, {"a": 2}, if_revision=0)
    assert measured.values("write.conflicts", operation="set_many") == [1]
    assert measured.values("set_many.blks_updated") == []
    assert measured.values("transaction.lost_races") == []


@several_writers
def test_a_row_that_is_not_as_the_client_knew_it_is_reported(client: Client, measured: Measurements) -> None:
    client.set("ann", BLOCK, {"a": 1})
    Client().set("ann", BLOCK, {"a": 2})
    measured.clear()
    client.set("ann", BLOCK, {"b": 3})
    assert measured.values("transaction.lost_races", cause="known") == [1]
    assert measured.values("transaction.retries") == []
    assert measured.values("set_many.state_updated") == [1]


@several_writers
def test_a_lost_race_is_reported_and_the_write_once_as_it_was_committed(client: Client, measured: Measurements) -> None:
    client.set("ann", BLOCK, {"a": 1})
    measured.clear()

    def interfere() -> None:
        on_another_connection(lambda: StudentModule.objects.all().delete())
        measured.clear()

    with just_before("UPDATE", StudentModule, interfere):
        Client().set("ann", BLOCK, {"b": 2})
    assert measured.values("transaction.lost_races", cause="revision") == [1]
    assert measured.values("transaction.retries") == [1]
    assert measured.values("set_many.state_created") == [1]
    assert measured.values("set_many.state_updated") == []
    assert measured.values("set_many.fields_set") == [1]
    assert measured.total("write.state_bytes") == len('{"b":2}')
    [body] = StudentModuleHistory.objects.values_list("body", flat=True)
    assert measured.values("write.history_bytes") == [len(body or b"")]
    # The second attempt locked the row at its lookup.
    assert len(measured.values("transaction.lock_wait", lock="rows")) == 1


@several_writers
def test_a_row_that_appeared_is_a_race_that_the_database_tells_of(client: Client, measured: Measurements) -> None:
    client.set("ann", BLOCK, {"a": 1})
    StudentModule.objects.all().delete()
    with just_before(
        "INSERT", StudentModule, lambda: on_another_connection(lambda: Client().set("ann", BLOCK, {"c": 1}))
    ):
        client.set("ann", BLOCK, {"b": 2})
    assert measured.values("transaction.lost_races", cause="database") == [1]
    assert measured.values("transaction.retries") == [1]


def test_a_call_that_gives_up_is_reported(measured: Measurements, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose() -> None:
        raise LostRace

    monkeypatch.setattr(transactions, "MAX_ATTEMPTS", 3)
    with pytest.raises(ServiceUnavailable):
        transactions.repeat("default", lose)
    assert measured.values("transaction.lost_races") == [1, 1, 1]
    assert measured.values("transaction.retries") == [1, 1]
    assert measured.values("unavailable", cause="attempts") == [1]


def test_a_database_that_can_not_serve_is_reported(client: Client, measured: Measurements) -> None:
    with unreachable(), pytest.raises(ServiceUnavailable):
        client.set("ann", BLOCK, {"a": 1})
    assert measured.values("unavailable", cause="database") == [1]
    assert write_metrics(measured) == []


def test_what_is_rolled_back_reports_nothing_as_written(client: Client, measured: Measurements) -> None:
    client.set_many("ann", {BLOCK: {"a": 1}, OTHER: {"a": 1}})
    measured.clear()
    with refusing("INSERT", StudentModuleHistory, "NEW.revision > 1"), pytest.raises(DatabaseError):
        client.set_many("ann", {BLOCK: {"a": 2}, OTHER: {"a": 2}})
    assert write_metrics(measured) == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="elsewhere rows are locked")
def test_on_sqlite_who_begins_waits_for_the_database(client: Client, measured: Measurements) -> None:
    client.set("ann", BLOCK, {"a": 1})
    measured.clear()
    client.set("ann", BLOCK, {"a": 2})
    assert len(measured.values("transaction.lock_wait", lock="database")) == 1
    assert measured.values("transaction.lock_wait", lock="rows") == []


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda client: client.set("ann", BLOCK, {"a": 2}), id="set"),
        pytest.param(lambda client: client.delete("ann", BLOCK), id="delete"),
        pytest.param(lambda client: client.set_score("ann", BLOCK, 1, 2), id="set_score"),
        pytest.param(batch, id="batch"),
    ],
)
class TestACallersTransaction:
    def test_a_write_is_reported_when_the_caller_commits(
        self, client: Client, measured: Measurements, act: Act
    ) -> None:
        client.set("ann", BLOCK, {"a": 1})
        measured.clear()
        with transaction.atomic():
            act(client)
            assert write_metrics(measured) == []
        assert {name.partition(".")[2] for name in write_metrics(measured)} >= {"response_time", "history_bytes"}

    def test_what_the_caller_rolls_back_was_not_written(self, client: Client, measured: Measurements, act: Act) -> None:
        client.set("ann", BLOCK, {"a": 1})
        measured.clear()
        with transaction.atomic():
            act(client)
            transaction.set_rollback(True)
        assert write_metrics(measured) == []

    def test_a_savepoint_that_is_rolled_back_was_not_written(
        self, client: Client, measured: Measurements, act: Act
    ) -> None:
        client.set("ann", BLOCK, {"a": 1})
        measured.clear()
        with transaction.atomic(), transaction.atomic():
            act(client)
            transaction.set_rollback(True)
        assert write_metrics(measured) == []


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda client: client.set("ann", BLOCK, {"a": [object()]}), id="a bad value"),
        pytest.param(lambda client: client.set("nobody", BLOCK, {"a": 1}), id="an unknown user"),
        pytest.param(lambda client: client.set_score("ann", BLOCK, 1, "x"), id="a bad score"),
    ],
)
def test_a_call_that_is_refused_reports_nothing(client: Client, measured: Measurements, act: Act) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 (other tests check the type)
        act(client)
    assert measured == []


def test_a_sink_that_raises_breaks_no_call(
    client: Client, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.XBLOCK_USER_STATE = {"METRICS": "tests.sinks.RaisingSink"}
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 2)
    batch(client)
    assert client.get("ann", BLOCK).state == {"a": 1, "batch": 1}
    client.delete("ann", BLOCK)
    assert StudentModule.objects.get(revision__gt=1).state == "{}"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_sink_that_can_not_be_made_breaks_no_call(client: Client, settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"METRICS": "no.such.Sink"}
    client.set("ann", BLOCK, {"a": 1})
    assert client.get("ann", BLOCK).state == {"a": 1}


def test_a_caller_who_commits_by_hand_is_served(client: Client, measured: Measurements) -> None:
    transaction.set_autocommit(False)
    try:
        client.set("ann", BLOCK, {"a": 1})
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert client.get("ann", BLOCK).state == {"a": 1}
    assert measured.values("set_many.blks_updated") == []


def test_without_a_sink_no_clock_is_looked_at(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.XBLOCK_USER_STATE = {}

    def fail() -> float:
        raise AssertionError("nobody wants to know the time")

    monkeypatch.setattr("xblock_user_state.metrics.current.time.perf_counter", fail)
    client.set("ann", BLOCK, {"a": 1})
    batch(client)
    assert client.get("ann", BLOCK).state

"""Metrics of the outbox and of shipping it to the extended history."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.db import transaction
from pytest_django import Settings

from tests.factories import make_learners
from tests.integration.measuring import measured as measured  # noqa: PLC0414 (a fixture)
from tests.integration.outage import ALIAS, Outage, counting_fails, refused, refusing_revision
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from tests.integration.rows import shift_times
from tests.integration.shipping import BLOCKS, answer_all_blocks, relay
from tests.integration.statements import captured
from tests.sinks import Measurements
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.outbox import backlog
from xblock_user_state.history.outbox.relay import Relay
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.models import HistoryOutbox

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", ALIAS]),
]


@pytest.fixture(autouse=True)
def _learners(settings: Settings, outage: Outage, measured: Measurements) -> None:
    make_learners("ann")
    set_ship_history(settings, "by_relay")


def set_ship_history(settings: Settings, ship: str) -> None:
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "EXTENDED_HISTORY": True, "SHIP_HISTORY": ship}


def test_the_relay_reports_what_it_ships_and_what_is_left(measured: Measurements) -> None:
    answer_all_blocks()
    answer_all_blocks()
    measured.clear()
    relay("--batch", "4")
    assert measured.total("shipping.shipped", by="relay") == 10
    assert measured.values("outbox.depth") == [0]
    assert measured.values("outbox.age") == [0]
    assert measured.values("shipping.failures") == []


def test_depth_and_age_tell_that_nothing_is_shipped(measured: Measurements, outage: Outage) -> None:
    answer_all_blocks()
    answer_all_blocks()
    shift_times(HistoryOutbox._base_manager.filter(revision=1), "created", -timedelta(hours=1))
    measured.clear()
    with outage.lasts(), pytest.raises(CommandError):
        relay()
    assert measured.values("shipping.failures", by="relay", outcome="unavailable") == [1]
    assert measured.values("outbox.depth") == [10]
    [age] = measured.values("outbox.age")
    assert 3600 <= age < 3700
    assert measured.values("shipping.shipped") == []


def test_a_relay_that_follows_reports_each_pass(measured: Measurements, outage: Outage) -> None:
    answer_all_blocks()
    measured.clear()
    passes = iter([True, True, False])
    with outage.lasts():
        for _ in Relay("default", 500).follow(lambda _: next(passes)):
            pass
    assert measured.values("outbox.depth") == [5, 5]
    assert measured.values("shipping.failures", outcome="unavailable") == [1, 1]


def test_a_long_pass_is_reported_in_between(measured: Measurements, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_all_blocks()
    answer_all_blocks()
    measured.clear()
    monkeypatch.setattr(backlog, "REPORT_SECONDS", 0)
    relay("--batch", "5")
    assert measured.values("outbox.depth") == [5, 0, 0, 0]


@dataclass
class Clock:
    """The clock of this process's own reports of the backlog. A report is due at once."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(backlog, "REPORTS", backlog.RareReports(clock, due_at=0.0))
    return clock


def test_writers_report_the_backlog_of_a_relay_that_does_not_run(measured: Measurements, clock: Clock) -> None:
    answer_all_blocks()
    assert measured.values("outbox.depth") == [5]
    shift_times(HistoryOutbox._base_manager.all(), "created", -timedelta(hours=1))
    clock.now = backlog.PROCESS_SECONDS - 1
    with captured() as statements:
        answer_all_blocks()
    assert not any("COUNT(*)" in statement for statement in statements)
    clock.now = backlog.PROCESS_SECONDS
    answer_all_blocks()
    assert measured.values("outbox.depth") == [5, 15]
    assert measured.values("outbox.age")[-1] >= 3600


def test_writers_that_ship_at_once_report_the_backlog_after_the_shipment(
    settings: Settings, measured: Measurements, clock: Clock, outage: Outage
) -> None:
    set_ship_history(settings, "at_once")
    answer_all_blocks()
    assert measured.values("outbox.depth") == [0]
    clock.now = backlog.PROCESS_SECONDS
    with outage.lasts():
        answer_all_blocks()
    assert measured.values("outbox.depth") == [0, 5]


def test_a_backlog_that_takes_long_to_count_is_counted_less_often(
    measured: Measurements, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(_: backlog.BacklogGauges) -> None:
        clock.now += 3

    monkeypatch.setattr(backlog.BacklogGauges, "report", slowly)
    answer_all_blocks()
    assert backlog.REPORTS.due_at == pytest.approx(300)


def test_writers_report_nothing_before_their_commit_and_nothing_of_a_rollback(
    measured: Measurements, clock: Clock
) -> None:
    with transaction.atomic():
        answer_all_blocks()
        assert measured.values("outbox.depth") == []
        transaction.set_rollback(True)
    assert measured.values("outbox.depth") == []


def test_without_a_sink_writers_do_not_look(settings: Settings, clock: Clock) -> None:
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "METRICS": None}
    with captured() as statements:
        answer_all_blocks()
    assert not any("COUNT(*)" in statement for statement in statements)


def test_an_outbox_that_can_not_be_counted_breaks_no_write(measured: Measurements, clock: Clock) -> None:
    with counting_fails(refused) as tried:
        answer_all_blocks()
    assert tried == ["default"]
    assert measured.values("outbox.depth") == []
    assert len(measured.values("set_many.response_time")) == 1
    answer_all_blocks()


def test_the_relay_reports_the_time_of_a_complete_pass(measured: Measurements, outage: Outage) -> None:
    before = time.time()
    answer_all_blocks()
    relay()
    [first] = measured.values("relay.last_pass")
    assert before <= first <= time.time()
    with outage.lasts(), pytest.raises(CommandError):
        relay()
    assert measured.values("relay.last_pass") == [first]


def test_shipping_at_once_is_reported(settings: Settings, measured: Measurements, outage: Outage) -> None:
    set_ship_history(settings, "at_once")
    answer_all_blocks()
    assert measured.total("shipping.shipped", by="call") == 5
    assert {one.tags["store"] for one in measured if one.name == "write.history_bytes"} == {"outbox"}
    with outage.lasts():
        answer_all_blocks()
        answer_all_blocks()
    assert measured.values("shipping.failures", by="call", outcome="unavailable") == [1]
    assert measured.values("shipping.skipped") == [1]
    assert len(measured.values("set_many.response_time")) == 3


def test_refused_entries_are_reported(measured: Measurements) -> None:
    answer_all_blocks()
    answer_all_blocks()
    measured.clear()
    with refusing_revision(2), pytest.raises(CommandError, match="refuses 5 of them"):
        relay()
    # One failure of the batch, and one for each of its five entries.
    assert measured.total("shipping.failures", by="relay", outcome="refused") == 6
    assert measured.total("shipping.shipped", by="relay") == 5
    assert measured.values("outbox.depth") == [5]


def test_a_history_that_can_not_be_read_is_reported(measured: Measurements, outage: Outage) -> None:
    answer_all_blocks()
    relay()
    with outage.lasts(), pytest.raises(ServiceUnavailable):
        list(DjangoXBlockUserStateClient().get_history("ann", BLOCKS[0]))
    assert measured.values("unavailable", cause="history") == [1]


def test_without_a_sink_the_relay_does_not_look(settings: Settings) -> None:
    answer_all_blocks()
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "METRICS": None}
    with captured() as statements:
        assert sum(Relay("default", 500).once()) == 5
    assert not any("COUNT(*)" in statement for statement in statements)

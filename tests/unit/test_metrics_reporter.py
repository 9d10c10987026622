"""A failing sink breaks no call."""

from __future__ import annotations

import pytest

from tests.clock import Clock
from tests.sinks import KeepingSink, Measurements, RaisingSink
from xblock_user_state.metrics import names
from xblock_user_state.metrics.reporter import WARN_SECONDS, Reporter


def test_tags_have_the_names_of_their_metric() -> None:
    seen = Measurements()
    Reporter(KeepingSink(seen)).count(names.STATE_BYTES, 7, "set_many", "user_state")
    Reporter(KeepingSink(seen)).record(names.OUTBOX_AGE, 0.5)
    assert seen == [
        ("count", "write.state_bytes", 7, {"operation": "set_many", "scope": "user_state"}),
        ("record", "outbox.age", 0.5, {}),
    ]


def test_adding_nothing_to_a_counter_is_not_reported_and_a_value_of_nothing_is() -> None:
    seen = Measurements()
    reporter = Reporter(KeepingSink(seen))
    reporter.count(names.RETRIES, 0)
    reporter.record(names.OUTBOX_DEPTH, 0)
    assert [one.name for one in seen] == ["outbox.depth"]


def test_a_sink_that_raises_is_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    reporter = Reporter(RaisingSink(), clock)
    for _ in range(int(2 * WARN_SECONDS)):
        reporter.count(names.RETRIES, 1)
        reporter.record(names.OUTBOX_DEPTH, 1)
        clock.now += 1
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"metrics are lost: {names.RETRIES.name}: ConnectionError: nobody takes metrics"] * 2
    assert {record.name for record in caplog.records} == {"xblock_user_state.metrics"}


def test_wrong_tags_break_nothing_either(caplog: pytest.LogCaptureFixture) -> None:
    seen = Measurements()
    Reporter(KeepingSink(seen)).count(names.RETRIES, 1, "too", "many")
    assert seen == []
    assert len(caplog.records) == 1

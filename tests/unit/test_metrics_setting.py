"""The setting names the sink: read at run time, created once, and validated by a system check."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import override_settings
from pytest_django import Settings

from tests.sinks import KeepingSink, Measurements, RaisingSink, keeping_sink
from xblock_user_state.checks import check_metrics
from xblock_user_state.metrics import current, names

WRONG = [
    pytest.param("tests.sinks.NoSuchSink", "NoSuchSink", id="no such name"),
    pytest.param("no_such_module.Sink", "no_such_module", id="no such module"),
    pytest.param("Sink", "module path", id="no path"),
    pytest.param("", "module path", id="empty"),
    pytest.param(5, "dotted path", id="a number"),
    pytest.param({}, "SINK", id="an empty dict"),
    pytest.param({"OPTIONS": {}}, "SINK", id="no sink"),
    pytest.param({"SINK": "tests.sinks.RaisingSink", "OPTION": {}}, "OPTIONS", id="a misspelt key"),
    pytest.param({"SINK": "tests.sinks.RaisingSink", "OPTIONS": {"port": 1}}, "RaisingSink", id="an unknown option"),
    pytest.param({"SINK": "tests.sinks.RaisingSink", "OPTIONS": 5}, "mapping", id="options that are no dict"),
    pytest.param("tests.sinks.Measurements", "record", id="not a sink"),
    pytest.param(
        {"SINK": "xblock_user_state.metrics.dogstatsd.DogStatsDSink", "OPTIONS": {"sample_rate": 2}},
        "sample_rate must be above 0 and at most 1, not 2",
        id="an impossible option",
    ),
]


@pytest.mark.parametrize("setting", [{}, {"METRICS": None}])
def test_by_default_nothing_is_measured(settings: Settings, setting: dict[str, None]) -> None:
    settings.XBLOCK_USER_STATE = setting
    assert current.reporter() is None
    assert current.started() is None
    current.count(names.RETRIES, 1)
    current.record(names.OUTBOX_AGE, 1)


def test_a_setting_that_is_not_there_measures_nothing(settings: Settings) -> None:
    del settings.XBLOCK_USER_STATE
    assert current.reporter() is None


def test_a_dotted_path_is_a_sink_without_options(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"METRICS": "tests.sinks.RaisingSink"}
    found = current.reporter()
    assert found is not None
    assert isinstance(found.sink, RaisingSink)
    assert check_metrics() == []


def test_options_are_passed_to_the_sink(settings: Settings) -> None:
    seen = Measurements()
    settings.XBLOCK_USER_STATE = {"METRICS": keeping_sink(seen)}
    current.count(names.LOST_RACES, 2, "revision")
    assert seen == [("count", "transaction.lost_races", 2, {"cause": "revision"})]


def test_the_sink_is_made_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(KeepingSink, "__init__", lambda self, into: made.append(into))
    settings.XBLOCK_USER_STATE = {"METRICS": keeping_sink(Measurements())}
    assert check_metrics() == []
    assert current.reporter() is current.reporter()
    assert len(made) == 1


def test_a_changed_setting_is_another_sink(settings: Settings) -> None:
    first, second = Measurements(), Measurements()
    settings.XBLOCK_USER_STATE = {"METRICS": keeping_sink(first)}
    current.count(names.RETRIES, 1)
    with override_settings(XBLOCK_USER_STATE={"METRICS": keeping_sink(second)}):
        current.count(names.RETRIES, 2)
    current.count(names.RETRIES, 3)
    settings.XBLOCK_USER_STATE["METRICS"] = keeping_sink(second)
    current.count(names.RETRIES, 4)
    settings.XBLOCK_USER_STATE["METRICS"] = None
    current.count(names.RETRIES, 5)
    assert (first.values("transaction.retries"), second.values("transaction.retries")) == ([1, 3], [2, 4])


@pytest.mark.parametrize(("setting", "problem"), WRONG)
def test_what_is_wrong_is_told_by_the_check_and_once_in_the_log(
    settings: Settings, caplog: pytest.LogCaptureFixture, setting: object, problem: str
) -> None:
    settings.XBLOCK_USER_STATE = {"METRICS": setting}
    [message] = check_metrics()
    assert message.id == "xblock_user_state.E009"
    assert problem in message.msg
    assert "OPTIONS" in str(message.hint)
    assert current.reporter() is None
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert problem in record.getMessage()


def test_a_setting_that_is_no_dict_is_told_by_another_check(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = None
    assert check_metrics() == []

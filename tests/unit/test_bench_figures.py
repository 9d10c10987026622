"""What the benchmark makes of times, and how it writes them."""

from __future__ import annotations

from random import Random

import pytest
import simplejson

from bench import calls_page, data, figures, scale
from bench.contenders import OURS, RAW, REFERENCE, codec


def test_a_summary_has_the_median_and_the_middle_half() -> None:
    assert figures.summary([5, 1, 2, 4, 3]) == {"median": 3, "low": 2, "high": 4, "count": 5}


def test_a_single_time_is_its_own_spread() -> None:
    assert figures.summary([7]) == {"median": 7, "low": 7, "high": 7, "count": 1}


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (1, 1)])
def test_percentiles_are_values_that_were_measured(percent: int, value: int) -> None:
    assert figures.percentile([*range(100, 0, -1)], percent) == value


@pytest.mark.parametrize(
    ("one", "other", "text"), [(3, 2, "1.50"), (7, 2, "3.5"), (90, 4, "22"), (None, 2, "–"), (2, None, "–")]
)
def test_ratios_have_as_many_digits_as_they_are_worth(one: float | None, other: float | None, text: str) -> None:
    assert figures.ratio(one, other) == text


@pytest.mark.parametrize(("value", "text"), [(0.374, "0.37"), (36.04, "36.0"), (2603.4, "2,603"), (None, "–")])
def test_times_have_three_digits(value: float | None, text: str) -> None:
    assert figures.milliseconds(value) == text


def test_data_is_as_large_as_a_site_has_it() -> None:
    blocks = data.blocks_of(7)
    assert {len(block.usage_key) for block in blocks} == {83}
    assert len({block.id for block in blocks}) == data.BLOCKS_OF_COURSE
    assert data.blocks_of(7, 3) == blocks[:3]
    assert all(600 < len(simplejson.dumps(state)) < 900 for state in data.states(1, 20))


def test_an_attempt_changes_a_state() -> None:
    random = Random(1)
    state = data.state(random)
    changed = {**state, **data.attempt(random, 2)}
    assert changed.keys() == state.keys()
    assert changed != state


def test_the_largest_table_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scale.table_sizes() == scale.FULL.tables
    monkeypatch.setenv(scale.LARGEST_VARIABLE, "5000000")
    assert scale.table_sizes() == (*scale.FULL.tables, 5_000_000)
    monkeypatch.setenv(scale.LARGEST_VARIABLE, "20000")
    assert scale.table_sizes() == (10_000, 20_000)


@pytest.mark.parametrize(
    "value", [1, 1.5, None, "null", [None], 2**70, -(2**63), float("inf"), "\ud800", "\u0000", "ä"]
)
def test_the_raw_codec_keeps_every_value(value: object) -> None:
    fields = {"value": value}
    text = codec.encode(fields, is_plain=codec.is_plain(fields))
    assert codec.decode(text)[0] == fields
    assert codec.decode(text)[1] == codec.is_plain(fields)


def test_the_raw_codec_keeps_nan() -> None:
    fields = {"value": float("nan")}
    assert "NaN" in codec.encode(fields, is_plain=codec.is_plain(fields))


def test_the_section_of_calls_has_ratios_times_and_round_trips() -> None:
    times = {OURS: figures.summary([2]), RAW: figures.summary([1]), REFERENCE: figures.summary([30])}
    results = {
        "machine": "A machine.",
        "times": {"get_many": {"1": times, "10": times}},
        "history": {"1": times},
        "round_trips": {"get_many": {"1": {OURS: 1, RAW: 1, REFERENCE: 3}}},
    }
    lines = calls_page.section({"PostgreSQL 15.1": results}).splitlines()
    assert "### PostgreSQL 15.1" in lines
    assert "| ours ÷ raw | get_many | 2.00 | 2.00 |" in lines
    assert "| reference ÷ ours | get_many | 15.0 | 15.0 |" in lines
    assert "| get_many | reference | 30.0 (30.0–30.0) | 30.0 (30.0–30.0) |" in lines
    assert "| get_many | reference | 3 |" in lines


def test_the_section_of_calls_has_no_line_for_who_was_not_measured() -> None:
    times = {OURS: figures.summary([2]), RAW: figures.summary([1]), REFERENCE: figures.summary([30])}
    results = {
        "machine": "",
        "times": {"get_many": {"1": times}},
        "history": {"1": times},
        "round_trips": {"x": {"1": {}}},
    }
    assert "django-pghistory" not in calls_page.section({"MariaDB": results})

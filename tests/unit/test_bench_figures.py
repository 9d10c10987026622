"""Statistics of measured times, and the contenders' data and codec."""

from __future__ import annotations

from random import Random

import pytest
import simplejson

from bench.contenders import codec
from bench.page import figures
from bench.page.history_size import bytes_an_entry
from bench.page.storage import bytes_of_entry
from bench.site import data, scale


def test_a_summary_has_the_median_and_the_quartiles() -> None:
    assert figures.summary([5, 1, 2, 4, 3]) == {"median": 3, "low": 2, "high": 4, "count": 5}


def test_a_single_time_is_its_own_spread() -> None:
    assert figures.summary([7]) == {"median": 7, "low": 7, "high": 7, "count": 1}


def test_each_operation_and_contender_has_its_summary() -> None:
    found = figures.summaries({"get_many": {"ours": [1, 3], "raw": [1]}})
    assert [found["get_many"][name]["median"] for name in ("ours", "raw")] == [2, 1]


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (1, 1)])
def test_percentiles_are_measured_values(percent: int, value: int) -> None:
    assert figures.percentile([*range(100, 0, -1)], percent) == value


@pytest.mark.parametrize(("one", "other", "text"), [(3, 2, "1.50"), (7, 2, "3.5"), (90, 4, "22"), (1, 4, "0.25")])
def test_a_ratio_is_the_quotient(one: float, other: float, text: str) -> None:
    assert figures.ratio(one, other) == text


@pytest.mark.parametrize(("one", "other"), [(None, 2), (2, None), (None, None)])
def test_a_ratio_needs_both_values(one: float | None, other: float | None) -> None:
    assert figures.ratio(one, other) == figures.MISSING


def test_an_entry_counts_with_its_table_and_indexes() -> None:
    assert bytes_an_entry({"table": 900, "indexes": 100, "entries": 10}) == 100
    assert bytes_of_entry({"weights": {"ours": {"history": {"table": 200.0, "index": 20.0}}}}, "ours") == 220


def test_data_is_as_large_as_on_a_site() -> None:
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
    assert scale.table_sizes() == (10_000, 100_000, 1_000_000)
    monkeypatch.setenv(scale.LARGEST_VARIABLE, "20000000")
    assert scale.table_sizes() == (10_000, 100_000, 1_000_000, 10_000_000, 20_000_000)
    monkeypatch.setenv(scale.LARGEST_VARIABLE, "20000")
    assert scale.table_sizes() == (10_000, 20_000)
    monkeypatch.setenv(scale.LARGEST_VARIABLE, "5000")
    assert scale.table_sizes() == (5_000,)


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

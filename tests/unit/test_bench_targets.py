"""Targets are compared with the measured values."""

from __future__ import annotations

from typing import Any

import pytest

from bench.contenders import IN_MEMORY, OURS, OURS_WARM, PGHISTORY, RAW, REFERENCE, SIMPLE_HISTORY
from bench.page import figures, opening, targets
from bench.page.figures import summary
from bench.page.report import Known, kind_of_runs
from bench.page.startup import ALONE, BEFORE, NOW
from bench.workloads import WORKLOADS
from bench.workloads.startup import summarized

UPDATE = "set_many, update"


def _calls(ours: float, reference: float) -> dict[str, Any]:
    times = {OURS: summary([ours]), RAW: summary([2]), REFERENCE: summary([reference])}
    trips = {"1": {OURS: 2, OURS_WARM: 1}, "10": {OURS: 3, OURS_WARM: 1}}
    return {"machine": "A full run, on a machine.", "times": {UPDATE: {"10": times}}, "round_trips": {UPDATE: trips}}


def _verdict(known: Known, database: str, figure: str) -> tuple[Any, ...]:
    """Return the database, the measured value, and whether the target is met."""
    [found] = [
        verdict
        for verdict in targets.verdicts(known)
        if verdict.target.figure == figure and verdict.target.database == database
    ]
    return found.database, found.measured, found.is_met


@pytest.mark.parametrize(
    ("ours", "reference", "to_raw", "to_reference", "are_met"),
    [(3.6, 50.4, 1.8, 14, True), (4, 40, 2, 10, False)],
    ids=["at their bounds", "beyond their bounds"],
)
def test_ratios_are_held_against_their_bounds(
    ours: float, reference: float, to_raw: float, to_reference: float, *, are_met: bool
) -> None:
    known = {"calls": {"PostgreSQL 15.1": _calls(ours, reference)}}
    at_most = _verdict(known, "PostgreSQL", f"{UPDATE}, 10 blocks: ours ÷ raw")
    assert at_most == ("PostgreSQL 15.1", pytest.approx(to_raw), are_met)
    at_least = _verdict(known, "PostgreSQL", f"{UPDATE}, 10 blocks: reference ÷ ours")
    assert at_least == ("PostgreSQL 15.1", pytest.approx(to_reference), are_met)


def test_a_figure_that_was_not_measured_has_no_verdict() -> None:
    known = {"calls": {"PostgreSQL 15.1": _calls(3, 60)}}
    assert _verdict(known, "PostgreSQL", f"{UPDATE}, 100 blocks: ours ÷ raw") == ("PostgreSQL", None, None)
    assert _verdict(known, "MariaDB", "bytes of a row in indexes") == ("MariaDB", None, None)
    assert {verdict.is_met for verdict in targets.verdicts({})} == {None}
    assert "yes" not in targets.section({})


def test_the_most_round_trips_of_any_size_count() -> None:
    of = _calls(3, 60)
    of["round_trips"]["set_many, new"] = {"1": {OURS: 2}, "10": {OURS: 4}}
    known = {"calls": {"PostgreSQL 15.1": of}}
    assert _verdict(known, "PostgreSQL", "round trips of set_many: ours")[1:] == (4, False)
    assert _verdict(known, "PostgreSQL", "round trips of set_many: ours, warm")[1:] == (1, True)


@pytest.mark.parametrize(("entries", "reset", "lost"), [(101, 0, 0), (99, 0, 2), (101, 3, 3)])
def test_lost_writes_are_missing_entries_and_values_that_were_reset(entries: int, reset: int, lost: int) -> None:
    hot = {OURS: {"rate": 2.0, "writes": 100, "entries": entries, "reset": reset}, REFERENCE: {"rate": 1.0}}
    own = {
        "8": {OURS: {"rate": 20.0}, REFERENCE: {"rate": 1.0}},
        "4": {OURS: {"rate": 9.0}, REFERENCE: {"rate": 2.0}},
    }
    known = {"processes": {"MariaDB 11": {"machine": "", "own": own, "hot": hot}}}
    assert _verdict(known, "MariaDB", "the hot row, 8 writers: lost writes")[1:] == (lost, lost == 0)
    best = "set_many of 10 blocks, 8 processes: blocks a second, ÷ the reference's best"
    assert _verdict(known, "MariaDB", best)[1:] == (10, True)


def test_the_share_of_metrics_is_that_of_the_call_with_the_largest() -> None:
    call, long_call = {"milliseconds": 0.5, "looks": 4}, {"milliseconds": 5.0, "looks": 4}
    assert figures.share(1250, call) == pytest.approx(0.01)
    of = {"machine": "", "look": 1250.0, "calls": {OURS: {"get_many": call, UPDATE: long_call}}}
    verdict = _verdict(
        {"metrics": {"PostgreSQL 15.1": of}}, "PostgreSQL", "disabled metrics: share of a call of 1 block"
    )
    assert verdict[1:] == (pytest.approx(0.01), True)


def test_an_iteration_is_compared_by_row() -> None:
    by_name = {
        OURS: {"seconds": 6.0, "rows": 500_000, "peak": 71.0},
        RAW: {"seconds": 2.0, "rows": 250_000, "peak": 81.0},
    }
    known = {"iteration": {"MariaDB 11": {"machine": "", "courses": {"500000": {"course": by_name}}}}}
    assert _verdict(known, "MariaDB", "a course of 500,000 rows: time ÷ the raw cursor's")[1:] == (1.5, True)
    assert _verdict(known, "MariaDB", "a course of 500,000 rows: MB of the process")[1:] == (71, True)


def test_a_row_is_weighed_without_its_text() -> None:
    weights = {OURS: {"text": 700.0, "state": {"table": 800.0, "one": 60.0, "two": 30.0}, "history": {}}}
    known = {"storage": {"PostgreSQL 15": {"machine": "", "weights": weights, "updates": {OURS: {"in_place": 0.95}}}}}
    assert _verdict(known, "PostgreSQL", "bytes of a row in indexes")[1:] == (90, False)
    assert _verdict(known, "PostgreSQL", "bytes of a row beyond its text")[1:] == (190, False)
    assert _verdict(known, "PostgreSQL", "updates in place (heap-only)")[1:] == (0.95, True)


def test_quick_runs_are_named() -> None:
    full, quick = _calls(3, 60), {**_calls(3, 60), "machine": "A quick run, on a machine."}
    known = {"calls": {"PostgreSQL 15.1": full}, "growth": {"PostgreSQL 15.1": quick}}
    assert "growth" in kind_of_runs(known)
    assert "calls" not in kind_of_runs(known)
    assert "quick" not in kind_of_runs({"calls": {"PostgreSQL 15.1": full}})


def test_each_target_belongs_to_a_workload() -> None:
    assert WORKLOADS.keys() >= targets.WORKLOADS
    assert WORKLOADS.keys() >= {target.workload for target in targets.PRESENT}


def test_the_page_opens_with_the_part_of_a_target_that_is_reached() -> None:
    of = _calls(4, 60)
    of["history"] = {
        "100": {OURS: summary([4]), RAW: summary([2]), SIMPLE_HISTORY: summary([5]), PGHISTORY: summary([8])}
    }
    page = opening.section({"calls": {"PostgreSQL 15.1": of}})
    assert (
        "| PostgreSQL 15.1 | set_many, update, 10 blocks: ours ÷ raw | at most 1.70 | 2.00 | **no**, 85% of it |"
        in page
    )
    assert "| set_many, update, 10 blocks: reference ÷ ours | at least 12 | 15.00 | yes |" in page
    assert "| get_history, 100 entries: ours ÷ the fastest peer | at most 1 | 0.80 | yes |" in page
    assert f"Of {len(targets.PRESENT)} targets, 4 are measured and 3 are met." in page


def test_the_page_opens_without_a_chart_if_nothing_was_measured() -> None:
    page = opening.section({})
    assert "Chart" not in page
    assert page.count("not measured") == len(targets.PRESENT)
    opening.draw({})


def test_figures_are_found_where_their_workloads_store_them() -> None:
    problems = {"10 inputs, 10 attempts": {"plain": _size(40), "packed": _size(1)}}
    jobs, before = _jobs(export=2, check=2), _jobs(export=30, check=8)
    delay = {"times": {"reload": {OURS: summary([3]), REFERENCE: summary([13]), IN_MEMORY: summary([1])}}}
    known: Known = {
        "history-size": {"MariaDB 11": problems},
        "maintenance": {"MariaDB 11": {"jobs": jobs, "before": before, "growth": 1.0}},
        "page": {"MariaDB 11": {"delays": {"0.5": delay}, "memory": {"before": 50.0, "after": 50.0}}},
        "startup": {"MariaDB 11": {"times": {ALONE: summarized([3]), BEFORE: summarized([5]), NOW: summarized([4])}}},
    }
    found = [verdict for verdict in targets.verdicts(known, targets.PRESENT) if verdict.measured]
    # Packs, exports, checks, statements of an export, a reload and its state alone, memory, and the start.
    assert [verdict.measured for verdict in found] == pytest.approx([40, 15, 4, 1, 13 / 3, 6, 1, 0.5])
    assert [verdict.is_met for verdict in found] == [True, True, True, True, False, True, True, True]


def _jobs(**seconds: float) -> dict[str, dict[str, float]]:
    return {job: {"entries": 600, "seconds": each} for job, each in seconds.items()}


def _size(megabytes: int) -> dict[str, int]:
    return {"table": megabytes * 900, "indexes": megabytes * 100, "entries": 1}

"""The table that says which targets are reached."""

from __future__ import annotations

from typing import Any

import pytest

from bench import metrics, report, targets
from bench.contenders import OURS, OURS_WARM, RAW, REFERENCE
from bench.environment import WORKLOADS
from bench.figures import summary

UPDATE = "set_many, update"


def _calls(ours: float, reference: float) -> dict[str, Any]:
    times = {OURS: summary([ours]), RAW: summary([2]), REFERENCE: summary([reference])}
    trips = {"1": {OURS: 2, OURS_WARM: 1}, "10": {OURS: 3, OURS_WARM: 1}}
    return {"machine": "A full run, on a machine.", "times": {UPDATE: {"10": times}}, "round_trips": {UPDATE: trips}}


def _lines(known: dict[str, dict[str, report.Results]]) -> list[str]:
    return targets.section(known).splitlines()


def test_a_target_is_met_at_its_bound() -> None:
    lines = _lines({"calls": {"PostgreSQL 15.1": _calls(3.6, 50.4)}})
    assert "| PostgreSQL 15.1 | set_many, update, 10 blocks: ours ÷ raw | at most 1.80 | 1.80 | yes |" in lines
    assert "| PostgreSQL 15.1 | set_many, update, 10 blocks: reference ÷ ours | at least 14 | 14.00 | yes |" in lines


def test_a_target_that_is_missed_says_so() -> None:
    lines = _lines({"calls": {"PostgreSQL 15.1": _calls(4, 40)}})
    assert "| PostgreSQL 15.1 | set_many, update, 10 blocks: ours ÷ raw | at most 1.80 | 2.00 | **no** |" in lines
    assert "| PostgreSQL 15.1 | set_many, update, 10 blocks: reference ÷ ours | at least 14 | 10.00 | **no** |" in lines


def test_a_size_or_a_database_that_was_left_out_is_not_held_against_its_target() -> None:
    lines = _lines({"calls": {"PostgreSQL 15.1": _calls(3, 60)}})
    assert "| PostgreSQL | set_many, update, 100 blocks: ours ÷ raw | at most 1.50 | – | not measured |" in lines
    assert "| MariaDB | bytes of a row in indexes | at most 80 | – | not measured |" in lines


def test_the_most_round_trips_of_any_size_count() -> None:
    of = _calls(3, 60)
    of["round_trips"]["set_many, new"] = {"1": {OURS: 2}, "10": {OURS: 4}}
    lines = _lines({"calls": {"PostgreSQL 15.1": of}})
    assert "| PostgreSQL 15.1 | round trips of set_many: ours | at most 3 | 4 | **no** |" in lines
    assert "| PostgreSQL 15.1 | round trips of set_many: ours, warm | at most 1 | 1 | yes |" in lines


@pytest.mark.parametrize(("entries", "reset", "lost"), [(101, 0, 0), (99, 0, 2), (101, 3, 3)])
def test_lost_writes_are_missing_entries_and_values_that_were_reset(entries: int, reset: int, lost: int) -> None:
    rates = {"rate": 1.0}
    ours = {"rate": 2.0, "writes": 100, "entries": entries, "reset": reset}
    own = {"8": {OURS: {"rate": 20.0}, REFERENCE: rates}, "4": {OURS: {"rate": 9.0}, REFERENCE: {"rate": 2.0}}}
    of = {"machine": "", "own": own, "hot": {OURS: ours, REFERENCE: rates}}
    lines = _lines({"processes": {"MariaDB 11": of}})
    met = "**no**" if lost else "yes"
    assert f"| MariaDB 11 | the hot row, 8 writers: writes lost | at most 0 | {lost} | {met} |" in lines
    best = "set_many of 10 blocks, 8 processes: blocks a second, ÷ the reference's best"
    assert f"| MariaDB 11 | {best} | at least 10 | 10.00 | yes |" in lines


def test_figures_of_a_quick_run_are_told_from_others() -> None:
    of = _calls(3, 60)
    assert _lines({"calls": {"PostgreSQL 15.1": of}})[0] == "All figures are of full runs."
    quick = {**of, "machine": "A quick run, on a machine."}
    assert _lines({"calls": {"PostgreSQL 15.1": quick}})[0].startswith("The figures of calls are of a **quick run**")


def test_looks_are_held_against_their_call() -> None:
    call = {"milliseconds": 0.5, "looks": 4}
    assert metrics.share(1250, call) == pytest.approx(0.01)
    of = {"machine": "", "look": 1250.0, "calls": {OURS: {"get_many": call}}}
    assert "| One | get_many | ours | 0.50 | 4 | 1250 | 1.00% |" in metrics.section({"One": of})
    lines = _lines({"metrics": {"PostgreSQL 15.1": of}})
    assert any(line.endswith("| at most 1.00% | 1.00% | yes |") for line in lines)


def test_the_documentation_has_each_target() -> None:
    assert {target.workload for target in targets.TARGETS} <= WORKLOADS.keys()
    section = report.PAGE.read_text().partition("<!-- bench: targets -->")[2].partition("<!-- end")[0]
    assert section.strip() == targets.section(report.known()).strip()

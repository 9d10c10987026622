"""The page is rendered from stored results; the text around its sections stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.contenders import IN_MEMORY, OURS, PGHISTORY, RAW, REFERENCE, SIMPLE_HISTORY
from bench.page import at_a_glance, openedx_import, plan, report, sections, startup, voting
from bench.page import page as page_section
from bench.page.figures import summary
from bench.workloads import WORKLOADS
from bench.workloads.startup import summarized

PAGE = """# Performance

By hand.

<!-- bench: first -->
old
<!-- end of bench: first -->

More by hand.

<!-- bench: second -->

| kept |

<!-- end of bench: second -->
"""


def test_the_documentation_is_rendered_from_the_stored_results() -> None:
    page = report.PAGE.read_text()
    assert sections.rendered(page, report.known()) == page
    plan = sections.PLAN.read_text()
    assert sections.planned(plan, report.known()) == plan


def test_the_plan_multiplies_measured_figures_and_names_the_missing_ones() -> None:
    jobs = {
        "check": {"entries": 600, "rows": 100, "seconds": 0.1},
        "archive": {"entries": 500, "seconds": 1.0, "archive": 11_000},
    }
    lines = plan.section({"maintenance": {"MariaDB 11.4": {"machine": "A full run.", "jobs": jobs}}}).splitlines()
    assert "| MariaDB | archive, in files | 22 | 22 GB | 220 GB |" in lines
    assert "| MariaDB | `check_history` | 6,000 | 46 | 463 |" in lines
    missing = 'not yet: `make bench BENCH_ARGS="maintenance"`'
    assert f"| MariaDB | `export_history` | {missing} | – | – |" in lines


def test_the_section_on_growth_says_where_the_disk_ended_it() -> None:
    of_call = {call: dict.fromkeys((OURS, RAW), summary([1.0])) for call in ("set_many, update", "get_many")}
    of = {"machine": "A full run.", "times": {"10000": of_call, "7000000": of_call}, "wanted": 20_000_000}
    text = sections.text("growth", {"MariaDB 11.4": of})
    assert "| call | contender | 10,000 rows | 7,000,000 rows | largest ÷ smallest |" in text
    assert "The disk had room for 7,000,000 of 20,000,000 rows." in text
    assert "The disk" not in sections.text("growth", {"MariaDB 11.4": {**of, "wanted": 7_000_000}})


def test_every_workload_has_a_section() -> None:
    page = report.PAGE.read_text()
    assert report.known().keys() <= sections.OF_WORKLOADS.keys() == WORKLOADS.keys()
    assert [name for name in WORKLOADS if f"<!-- bench: {name} -->" not in page] == []


def test_a_page_stands_beside_the_reference_and_a_dictionary() -> None:
    times = {OURS: summary([3.0]), REFERENCE: summary([13.0]), IN_MEMORY: summary([1.0])}
    trips = {OURS: 2, REFERENCE: 6, IN_MEMORY: 0}
    requests = page_section.REQUESTS
    processor = {OURS: summary([1.5]), REFERENCE: summary([6.0]), IN_MEMORY: summary([1.0])}
    half = {
        "times": dict.fromkeys(requests, times),
        "processor": dict.fromkeys(requests, processor),
        "round_trips": dict.fromkeys(requests, trips),
    }
    memory = {"pages": 1000, "before": 70.0, "after": 70.0}
    of = {"machine": "A full run.", "delays": {"0.5": half}, "memory": memory}
    lines = page_section.section({"MariaDB 11.4": of}).splitlines()
    assert "| reload | reference ÷ ours |  | 4.3 |" in lines
    assert "| reload | the same, state alone |  | 6.0 |" in lines
    assert "| submit | ours | 2 | 3.00 (3.00–3.00) |" in lines
    # Two round trips of half a millisecond, half of our own code, and half of the server.
    assert "| MariaDB 11.4 | submit | ours | 3.00 | 1.00 | 0.50 | 1.00 | 0.50 |" in lines
    assert "| MariaDB 11.4 | submit | reference | 13.0 | 1.00 | 5.00 | 3.00 | 4.00 |" in lines
    assert "| MariaDB 11.4 | submit | 4.3 | 6.5 |" in lines
    assert "| MariaDB 11.4 | 1,000 | 70.0 | 70.0 |" in lines


@pytest.mark.parametrize("has_before", [True, False])
def test_a_start_is_compared_with_the_build_before_if_it_was_there(has_before: bool) -> None:
    starts = {startup.ALONE: [300.0, 310.0], startup.BEFORE: [400.0, 490.0], startup.NOW: [370.0, 390.0]}
    times = {name: summarized(milliseconds) for name, milliseconds in starts.items()}
    if not has_before:
        del times[startup.BEFORE]
    page = startup.section({"MariaDB 11.4": {"machine": "A full run.", "times": times}})
    compared = "0.70" if has_before else "–"
    assert page.splitlines()[-1] == f"| MariaDB 11.4 | ours | 380 (375–385) | 370 | 70 | {compared} |"


def test_every_chart_of_the_page_exists() -> None:
    charts = [part.partition(")")[0] for part in report.PAGE.read_text().split("](images/")[1:]]
    assert len(charts) >= 8
    assert [chart for chart in charts if not (report.DOCS / "images" / chart).is_file()] == []


def test_only_the_named_section_is_replaced() -> None:
    assert report.replace_section(PAGE, "first", "new\n\nfigures") == PAGE.replace("old", "\nnew\n\nfigures\n")


def test_replacing_a_section_again_changes_nothing() -> None:
    once = report.replace_section(PAGE, "first", "new")
    assert report.replace_section(once, "first", "new") == once


@pytest.mark.parametrize(
    "page", [PAGE.replace("bench: first", "bench: third", 1), PAGE.replace("of bench: first", "of it")]
)
def test_a_page_without_the_section_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match="no section between"):
        report.replace_section(page, "first", "new")


def test_results_are_stored_beside_those_of_other_workloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "DATA", tmp_path / "data.json")
    report.store("first", {"SQLite": 1})
    report.store("second", {"SQLite": 2})
    report.store("first", {"SQLite": 3})
    assert report.known() == json.loads(report.DATA.read_text()) == {"first": {"SQLite": 3}, "second": {"SQLite": 2}}


def test_guarded_votes_stand_beside_unguarded_ones() -> None:
    times = {"p50": 10.0, "p99": 125.0}
    votes = {
        "guarded": {"rate": 100.0, **times, "cast": 1200, "counted": 1200},
        "unguarded": {"rate": 200.0, **times, "cast": 2000, "counted": 250},
    }
    page = voting.section({"MariaDB 11.4": {"machine": "A full run.", "votes": {"8": votes}}})
    assert page.startswith("A full run.\n\n| database |")
    assert page.splitlines()[-2:] == [
        "| MariaDB 11.4 | guarded | 8 | 100 | 0.50 | 10.0 | 125 | 1,200 | 1,200 |",
        "| MariaDB 11.4 | unguarded | 8 | 200 | 1.00 | 10.0 | 125 | 2,000 | 250 |",
    ]


def _calls(**medians: float) -> dict[str, Any]:
    times = {name.replace("_", "-"): summary([median]) for name, median in medians.items()}
    return {"machine": "A full run.", "times": {"get_many": {"1": times, "10": times}}, "history": {"1": times}}


def _cells(known: report.Known, beginning: str) -> list[str]:
    [line] = [line for line in at_a_glance.section(known).splitlines() if line.startswith(beginning)]
    return line.strip("| ").split(" | ")


def test_the_lead_section_divides_the_times_of_others_by_ours() -> None:
    known = {"calls": {"PostgreSQL 15.1": _calls(ours=2, reference=8, django_simple_history=1)}}
    assert _cells(known, f"| get_many | {REFERENCE}")[2:] == ["4.0", "4.0", "–"]
    assert _cells(known, f"| get_many | {SIMPLE_HISTORY}")[2:] == ["0.50", "0.50", "–"]
    assert _cells(known, f"| get_history | {REFERENCE}")[2:] == ["4.0", "–", "–"]
    assert PGHISTORY not in at_a_glance.section(known).partition("Round trips")[0]


def test_the_lead_section_has_a_dash_for_a_figure_that_was_not_measured() -> None:
    hot = {OURS: {"rate": 400.0, "reset": 0}, REFERENCE: {"rate": 300.0, "reset": 12}}
    known = {"calls": {"MariaDB 11.4": _calls(ours=2)}, "processes": {"MariaDB 11.4": {"hot": hot}}}
    assert _cells(known, "| MariaDB 11.4 | hot row, 8 writers: writes")[2:] == ["400", "300", "–", "–"]
    assert _cells(known, "| MariaDB 11.4 | hot row, 8 writers: values")[2:] == ["0", "12", "–", "–"]
    assert {*_cells(known, "| MariaDB | history entry as a full copy")[2:]} == {"–"}


def test_an_import_stands_beside_raw_and_the_reference() -> None:
    memory = {"before": 50.0, "peak": 60.0}
    by_name = {
        OURS: {"rows": 2000, "seconds": 0.2, "processor": 0.1, **memory},
        RAW: {"rows": 2000, "seconds": 0.1, "processor": 0.1, **memory},
        REFERENCE: {"rows": 100, "seconds": 0.5, "processor": 0.3, **memory},
    }
    page = openedx_import.section({"MariaDB 11.4": {"machine": "A full run.", "sites": {"small": by_name}}})
    assert page.splitlines()[-3] == "| MariaDB 11.4 | ours | 2,000 | 0.2 | 0.1 | 10,000 | 2.00 | 50 | 50 | 60 |"

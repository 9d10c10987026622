"""Figures get into the documentation without harm to what is written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report
from bench.environment import WORKLOADS

PAGE = """# Performance

By hand.

<!-- bench: one -->
old
<!-- end of bench: one -->

More by hand.

<!-- bench: two -->

| kept |

<!-- end of bench: two -->
"""


def test_only_its_own_section_is_replaced() -> None:
    assert report.replace_section(PAGE, "one", "new\n\nfigures") == PAGE.replace("old", "\nnew\n\nfigures\n")


def test_replacing_a_section_again_changes_nothing() -> None:
    once = report.replace_section(PAGE, "one", "new")
    assert report.replace_section(once, "one", "new") == once


@pytest.mark.parametrize("page", [PAGE, PAGE.replace("one", "three", 1), PAGE.replace("of bench: one", "of it")])
def test_a_page_without_the_section_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match="no section between"):
        report.replace_section(page, "three" if page == PAGE else "one", "new")


def test_numbers_of_a_table_are_to_the_right() -> None:
    rows = [("SQLite", "deltas", "1.0 MB", "1.0"), ("SQLite", "full copies", "8.0 MB", "8.0")]
    assert report.table(("database", "stored as", "size", "times"), rows).splitlines() == [
        "| database | stored as | size | times |",
        "| --- | --- | --: | --: |",
        "| SQLite | deltas | 1.0 MB | 1.0 |",
        "| SQLite | full copies | 8.0 MB | 8.0 |",
    ]


def test_figures_are_kept_as_json_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(report, "DATA", tmp_path / "data.json")
    report.PAGE.write_text(PAGE)
    report.write("one", "1 MB", {"SQLite": 1})
    report.write("two", "2 MB", {"SQLite": 2})
    assert json.loads(report.DATA.read_text()) == {"one": {"SQLite": 1}, "two": {"SQLite": 2}}
    assert [line for line in report.PAGE.read_text().splitlines() if line.endswith("MB")] == ["1 MB", "2 MB"]


def test_the_documentation_has_the_figures_of_every_workload() -> None:
    assert set(json.loads(report.DATA.read_text())) == set(WORKLOADS)
    for name in WORKLOADS:
        assert "\n| --- |" in report.PAGE.read_text().partition(f"<!-- bench: {name} -->")[2].partition("<!-- end")[0]

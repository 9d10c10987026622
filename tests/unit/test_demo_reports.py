"""The demo's report of responses: learners' texts must not harm its readers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from xblock.fields import Scope, ScopeIds

from demo.host.reports import responses, safe_cell, write_csv
from tests.factories import make_block
from xblock_user_state.interface import XBlockUserState


class ReportingBlock:
    """Writes a report as the course's blocks do."""

    def generate_report_data(self, states: Iterator[XBlockUserState]) -> Iterator[tuple[str | None, dict[str, Any]]]:
        for found in states:
            yield found.username, {name: value for name, value in (found.state or {}).items() if value is not None}


class BrittleBlock(ReportingBlock):
    """Fails for states without a seed, as a problem of capa does."""

    scope_ids = ScopeIds(None, "problem", None, make_block())

    def generate_report_data(self, states: Iterator[XBlockUserState]) -> Iterator[tuple[str | None, dict[str, Any]]]:
        for found in states:
            yield found.username, {"Seed": (found.state or {})["seed"]}


def state(username: str, **fields: Any) -> XBlockUserState:
    return XBlockUserState(username, make_block(), fields, datetime(2026, 1, 1, tzinfo=UTC), Scope.user_state)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        '=HYPERLINK("http://example.com")',
        "+1+cmd|' /C calc'!A0",
        "-1+1",
        "@SUM(A1)",
        "  =1+1",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "＝1+1",
    ],
)
def test_a_formula_becomes_text(text: str) -> None:
    assert safe_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["", "A dim red torch", "29.5", "-1.5", "+3", "-1,5", "1=1", "a@example.com"])
def test_answers_and_numbers_stay_as_they_are(text: str) -> None:
    assert safe_cell(text) == text


def test_rows_have_the_columns_of_all_rows() -> None:
    states = [state("ada", Question="How many?", Answer=3), state("ben", Answer=None, Correct="4")]
    assert responses(ReportingBlock(), states) == (
        ["Learner", "Question", "Answer", "Correct"],
        [["ada", "How many?", "3", ""], ["ben", "", "", "4"]],
    )


def test_a_state_that_the_block_can_not_read_has_a_remark(caplog: pytest.LogCaptureFixture) -> None:
    states = [state("ada", seed=1), state("ben"), state("chen"), state("dan", seed=2)]
    remark = "The state can't be read: KeyError: 'seed'"
    assert responses(BrittleBlock(), states) == (
        ["Learner", "Seed", "Remark"],
        [["ada", "1", ""], ["ben", "", remark], ["chen", "", remark], ["dan", "2", ""]],
    )
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_a_block_that_fails_before_it_reads_a_state_fails() -> None:
    class Unfinished(BrittleBlock):
        def generate_report_data(self, states: Iterator[XBlockUserState]) -> Iterator[Any]:
            raise NotImplementedError

    with pytest.raises(NotImplementedError):
        responses(Unfinished(), [state("ada")])


def test_half_a_surrogate_pair_can_be_written() -> None:
    heading, rows = responses(ReportingBlock(), [state("ada", Answer="\ud83d stars")])
    assert rows == [["ada", "\\ud83d stars"]]
    assert heading


def test_all_cells_of_the_file_are_safe() -> None:
    file = io.StringIO()
    write_csv(file, ["Learner", "=Answer"], [["@ada", "=1+1"], ["ben", 'a "b", c\nd']])
    file.seek(0)
    assert list(csv.reader(file)) == [["Learner", "'=Answer"], ["'@ada", "'=1+1"], ["ben", 'a "b", c\nd']]

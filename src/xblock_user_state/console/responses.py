"""The responses of all learners to one block: as rows, as figures of a sample, and as files."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from opaque_keys.edx.keys import UsageKey

from xblock_user_state.console import people
from xblock_user_state.console.answers import Words, in_words
from xblock_user_state.console.changes import printable
from xblock_user_state.console.hosts import ConsoleHost, Describe
from xblock_user_state.interface import BlockScore, State
from xblock_user_state.maintenance import reports
from xblock_user_state.state import encode
from xblock_user_state.state.attempts import counters_in
from xblock_user_state.state.change import existing_state, score_of
from xblock_user_state.state.codec import NotAState

SAMPLE = 1_000
"""Learners whose states the figures are made of."""

ANSWERS = 10
"""Different answers that a chart shows; the others are one bar."""

FILE_PAGE = 500
"""Rows that a file reads at a time."""

# A spreadsheet runs a cell that starts like this as a formula, on the computer of the reader.
_FORMULA_START = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


class Row(NamedTuple):
    """A learner's response. `state` is ``None`` where there is none, and where it can't be read."""

    username: str | None
    """``None`` if the user is gone."""
    name: str
    """The full name; empty if the user is gone."""
    state: State | None
    problem: str
    """The reason why the state can't be read; empty if it can."""
    score: BlockScore | None
    revision: int
    modified: Any

    @property
    def attempts(self) -> int | None:
        """The attempts that the block counted."""
        return attempts_in(self.state)


class Figures(NamedTuple):
    """Counts over a sample of rows, as labels and values."""

    learners: int
    scores: Sequence[tuple[str, int]]
    attempts: Sequence[tuple[str, int]]
    answers: Sequence[tuple[str, int]]
    other_answers: int


def attempts_in(state: State | None) -> int | None:
    """Return the attempts that a block keeps in its state; ``None`` if it keeps none."""
    return next((found for found in counters_in(state).values() if isinstance(found, int)), None)


def rows_of(found: Iterable[reports.Response]) -> list[Row]:
    """Return rows with names and states. One statement."""
    found = list(found)
    learners = people.of_ids([each.student_id for each in found])
    rows = []
    for each in found:
        state, problem = None, ""
        try:
            state = existing_state(each.text)
        except NotAState as error:
            problem = printable(error)
        score = score_of(each.grade, each.max_grade, each.modified)
        learner = learners.get(each.student_id)
        username, name = (learner.username, learner.name) if learner else (None, "")
        rows.append(Row(username, name, state, problem, score, each.revision, each.modified))
    return rows


def figures_of(host: ConsoleHost, key: UsageKey, describe: Describe | None, rows: Sequence[Row]) -> Figures:
    """Return the figures of rows. Only one state of each frequent answer is put into words."""
    answers: Counter[str] = Counter()
    examples: dict[str, tuple[Row, Any]] = {}
    for row in rows:
        answer = host.answer(key, row.state) if row.state else None
        if answer is not None:
            text = encode(answer)
            answers[text] += 1
            examples.setdefault(text, (row, answer))
    frequent = answers.most_common(ANSWERS)
    return Figures(
        len(rows),
        _percents(rows),
        _steps(row.attempts for row in rows if row.attempts is not None),
        [(_label(key, describe, *examples[text]), count) for text, count in frequent],
        answers.total() - sum(count for _, count in frequent),
    )


def question_of(words: Iterable[Words]) -> str:
    """Return the question that all answers have in common; empty if there is none, or more than one."""
    found = {each["Question"] for of_row in words for each in of_row if "Question" in each}
    return found.pop() if len(found) == 1 else ""


def as_csv(rows: Iterable[Row], host: ConsoleHost, key: UsageKey, describe: Describe | None) -> Iterator[str]:
    """Yield the lines of a CSV file."""
    writer = csv.writer(_Echo())
    # Without a byte order mark, Excel does not recognise UTF-8.
    yield "\N{BYTE ORDER MARK}" + writer.writerow(
        [
            "Learner",
            "Name",
            "Grade",
            "Maximum",
            "Attempts",
            "Changed",
            "Revision",
            "Answer",
            "Answer in words",
            "Problem",
        ]
    )
    for row in rows:
        values = _values(row, host, key, describe)
        values["words"] = "; ".join(f"{name}: {text}" for words in values["words"] for name, text in words.items())
        if values["answer"] is not None:
            values["answer"] = _short(values["answer"])
        yield writer.writerow(["" if value is None else safe_cell(str(value)) for value in values.values()])


def as_json_lines(rows: Iterable[Row], host: ConsoleHost, key: UsageKey, describe: Describe | None) -> Iterator[str]:
    """Yield a JSON object for each row, with its state."""
    for row in rows:
        # By our own codec: states have NaN, and integers of any size.
        yield encode({**_values(row, host, key, describe), "state": row.state}) + "\n"


def safe_cell(text: str) -> str:
    """Return a cell that no spreadsheet runs as a formula: learners can enter anything."""
    return f"'{text}" if _FORMULA_START.match(text) and not _NUMBER.fullmatch(text) else text


def _values(row: Row, host: ConsoleHost, key: UsageKey, describe: Describe | None) -> dict[str, Any]:
    return {
        "learner": row.username,
        "name": row.name,
        "grade": row.score.grade if row.score else None,
        "max_grade": row.score.max_grade if row.score else None,
        "attempts": row.attempts,
        "changed": row.modified.isoformat(),
        "revision": row.revision,
        "answer": host.answer(key, row.state) if row.state else None,
        "words": in_words(describe, row.username or "", key, row.state, row.modified),
        "problem": row.problem,
    }


class _Echo:
    """A file for the `csv` module whose writes return the text."""

    def write(self, text: str) -> str:
        return text


def _percents(rows: Iterable[Row]) -> list[tuple[str, int]]:
    """Return the number of scores in each tenth of the maximum."""
    found: Counter[int] = Counter()
    for row in rows:
        if row.score and row.score.grade is not None and row.score.max_grade:
            found[min(9, max(0, int(row.score.grade / row.score.max_grade * 10)))] += 1
    return [(f"{tenth * 10}–{tenth * 10 + 10} %", found[tenth]) for tenth in range(10)] if found else []


def _steps(values: Iterable[int]) -> list[tuple[str, int]]:
    """Return the number of each value from 0 on; those from 20 on are together."""
    found = Counter(min(20, max(0, value)) for value in values)
    return [(f"{value}" if value < 20 else "20+", found[value]) for value in range(max(found, default=-1) + 1)]


def _label(key: UsageKey, describe: Describe | None, row: Row, answer: Any) -> str:
    words: Words = in_words(describe, row.username or "", key, row.state, row.modified)
    named = [text for each in words for name, text in each.items() if name == "Answer"]
    return "; ".join(named) or _short(answer)


def _short(answer: Any) -> str:
    # Most problems have one input, whose id says nothing to a reader.
    if isinstance(answer, dict) and len(answer) == 1:
        [answer] = answer.values()
    return printable(answer if isinstance(answer, str) else json.dumps(json.loads(encode(answer)), ensure_ascii=False))

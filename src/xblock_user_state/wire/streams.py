"""Calls that answer by a stream of lines, and the lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec import Raw, field

from xblock_user_state.wire.addresses import Address
from xblock_user_state.wire.calls import Call
from xblock_user_state.wire.encoding import decode
from xblock_user_state.wire.problems import Problem, error_of
from xblock_user_state.wire.rows import Answer
from xblock_user_state.wire.values import DamagedMessage, Json, PackedLearner


class KnownRow(Address, frozen=True, kw_only=True):
    """A revision that the caller knows of: an iteration's `at_least`."""

    learner: PackedLearner = None
    revision: int


class StateLine(Address, frozen=True, kw_only=True, tag_field="line", tag="state", forbid_unknown_fields=False):
    """A state of an iteration; ``learner`` is null for a state that all learners share."""

    learner: PackedLearner = None
    revision: int
    state: Raw
    updated: datetime


class EntryLine(Answer, frozen=True, kw_only=True, tag_field="line", tag="entry"):
    """An entry of an export: an object as `export_history` writes it, or a string with its text."""

    entry: Json


class ResumeLine(Answer, frozen=True, kw_only=True, tag_field="line", tag="resume"):
    """A place to go on from: the same call with this ``resume`` yields the lines that follow."""

    resume: str


class EndLine(Answer, frozen=True, kw_only=True, tag_field="line", tag="end"):
    """The last line of a complete stream. A stream that ends without it was cut."""


class ProblemLine(Answer, frozen=True, kw_only=True, tag_field="line", tag="problem"):
    """An error in the midst of a stream, which ends it."""

    problem: Problem


class IterateBlock(Call, frozen=True, kw_only=True):
    """`iter_all_for_block`."""

    path = "iterate/block"

    row: Address
    batch_size: int | None = None
    using: str | None = None
    at_least: list[KnownRow] = field(default_factory=list)
    resume: str | None = None


class IterateCourse(Call, frozen=True, kw_only=True):
    """`iter_all_for_course`."""

    path = "iterate/course"

    course: str
    block_type: str | None = None
    scope: str = "user_state"
    batch_size: int | None = None
    using: str | None = None
    at_least: list[KnownRow] = field(default_factory=list)
    resume: str | None = None


class ExportHistory(Call, frozen=True, kw_only=True):
    """The decoded history of a learner, of a course, or of a learner in a course, as `export_history` has it."""

    path = "export/history"

    learner: PackedLearner = None
    course: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    using: str | None = None
    resume: str | None = None


Line = StateLine | EntryLine | ResumeLine | EndLine | ProblemLine
IterateBlock.answer = IterateCourse.answer = ExportHistory.answer = Line


def decode_lines(lines: Iterable[bytes | str]) -> Iterator[StateLine | EntryLine | ResumeLine]:
    """Yield the lines of a stream until its end. Raises the error of the stream; `DamagedMessage` if it was cut."""
    for each in lines:
        line: Line = decode(Line, each)
        if isinstance(line, EndLine):
            return
        if isinstance(line, ProblemLine):
            raise error_of(line.problem)
        yield line
    raise DamagedMessage("the stream was cut: its last line is missing")

"""Whatever goes into a message of the service comes out of it, and all messages are strict JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.block_types import BlockTypeKeyV1
from opaque_keys.edx.keys import CourseKey, UsageKey
from xblock.fields import Scope

from tests.factories import COURSE, make_block
from tests.unit.test_codec_properties import FIELDS, TEXT
from xblock_user_state import interface, wire
from xblock_user_state.clients.arguments import new_score, overlay, removal, replacement
from xblock_user_state.interface import (
    BlockScore,
    Conflict,
    ConflictingRow,
    DamagedHistory,
    DoesNotExist,
    HistoryEntry,
    UserDoesNotExist,
    UserId,
)
from xblock_user_state.state.change import Change, Condition, Removal, Replacement, Row
from xblock_user_state.state.codec import encode_fields, join
from xblock_user_state.state.keys import row_key

OLD_COURSE = CourseKey.from_string("Astro/A101/2026")
OLD_BLOCK = OLD_COURSE.make_usage_key("problem", "stars")
BLOCK = make_block()
TIMES = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (Hypothesis adds the zone)
NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-5, 5).map(float))
KEYS = st.sampled_from(
    [
        (Scope.user_state, BLOCK),
        (Scope.user_state, OLD_BLOCK),
        (Scope.user_state, AsideUsageKeyV2(BLOCK, "hints")),
        (Scope.user_state, AsideUsageKeyV2(OLD_BLOCK, "hints")),
        (Scope.user_state, UsageKey.from_string("lb:Astro:library:problem:stars")),
        (Scope.user_state_summary, BLOCK),
        (Scope.preferences, "problem"),
        (Scope.preferences, BlockTypeKeyV1("xblock_asides.v1", "hints")),
        (Scope.user_info, None),
    ]
)
EDITS = st.one_of(
    FIELDS.map(lambda fields: overlay(BLOCK, fields)),
    FIELDS.map(lambda fields: replacement(BLOCK, fields)),
    st.just(replacement(BLOCK, None)),
    st.one_of(st.none(), st.lists(TEXT, max_size=3)).map(removal),
    st.just(new_score(1, 2)),
    st.just(new_score(None, None)),
)


def sent(message: Any, kind: Any = None) -> Any:
    """Return a message as the other end reads it. Fails if it is not strict JSON."""
    body = wire.encode(message)
    # Python refuses to convert integers of more than 4,300 digits.
    json.loads(body, parse_constant=pytest.fail, parse_int=str)
    return wire.decode(kind or type(message), body)


# The texts of states

STORED = st.text(st.characters(codec="utf-8"), max_size=8)  # no database stores half of a surrogate pair


@given(st.one_of(st.none(), FIELDS.map(lambda fields: join(encode_fields(fields, "block"))), STORED))
@example('{"a":NaN,"b":-Infinity}')
@example('{"lone":"\\ud800","null":"\\u0000"}')
@example(f'{{"big":{"9" * 5000},"zero":-0.0,"float":1e999}}')
@example('{"b":1, "a" : 2,\n"a":3}')
@example(" {}")
@example("{} ")
@example('{"a":1}}')
@example('"{}"')
@example("null")
@example("{not json}")
@example('{"a":' * 3000 + "1" + "}" * 3000)
def test_the_text_of_a_state_survives_as_it_is_stored(text: str | None) -> None:
    now = datetime(2026, 11, 28, 12, 0, 0, 1, UTC)
    row = Row(3, text, None, None, now, now)
    assert sent(wire.StoredRow.of(row)).row() == row


@given(FIELDS)
def test_a_state_that_json_can_hold_is_an_object(fields: dict[str, Any]) -> None:
    text = join(encode_fields(fields, "block"))
    # A pair of surrogates is one character, so some of these are objects too.
    if not re.search(r"NaN|Infinity|\\ud", text):
        assert bytes(wire.pack_json(text)) == text.encode()


def test_a_state_with_nan_is_a_string_to_other_languages() -> None:
    body = wire.encode(wire.SetFields(wire.pack_json('{"raw":NaN}')))
    assert json.loads(body)["state"] == '{"raw":NaN}'


@pytest.mark.parametrize("value", ["5", "true", '"[]"', '"{"', '"x"'])
def test_a_value_that_is_no_state_is_refused(value: str) -> None:
    with pytest.raises(wire.DamagedMessage):
        wire.unpack_state(wire.decode(wire.SetFields, f'{{"edit":"set","state":{value}}}').state)


# Learners, keys, times, numbers


@given(st.one_of(st.none(), TEXT, st.integers().map(UserId)))
@example(UserId(10**40))
def test_a_learner_survives(learner: Any) -> None:
    call = wire.ReadRows(learner=wire.pack_learner(learner), rows=[])
    assert wire.unpack_learner(sent(call).learner) == learner


def test_an_id_that_json_does_not_have_is_its_text() -> None:
    id_ = uuid.uuid4()
    assert wire.unpack_learner(wire.pack_learner(UserId(id_))) == UserId(str(id_))


@given(KEYS)
def test_a_key_survives_with_its_course(key: tuple[Scope, Any]) -> None:
    scope, block_key = key
    found = sent(wire.Address.of_key(scope, block_key))
    assert found.unpack() == (scope, block_key)
    assert found.row_key() == (scope, row_key(block_key, scope))


def test_a_key_names_its_course_only_if_its_text_lacks_it() -> None:
    assert wire.Address.of_key(Scope.user_state, BLOCK).course is None
    assert wire.Address.of_key(Scope.user_state, OLD_BLOCK).course == str(OLD_COURSE)


@pytest.mark.parametrize(
    ("scope", "key", "course"),
    [
        ("user_state", "no key", None),
        ("user_state", str(OLD_BLOCK), "no course"),
        ("settings", None, None),
    ],
)
def test_a_text_that_is_no_key_is_named(scope: str, key: str | None, course: str | None) -> None:
    with pytest.raises(ValueError, match=r"no key|no course|settings"):
        wire.Address(scope=scope, key=key, course=course).unpack()


@given(NUMBERS, NUMBERS, TIMES, TIMES)
def test_a_score_survives_to_the_microsecond(
    grade: float | None, max_grade: float | None, updated: datetime, created: datetime
) -> None:
    score = BlockScore(grade, max_grade, updated, created)
    found = sent(wire.StoredScore.of(score)).score()
    assert (found, found.created) == (score, score.created)
    assert str(found.grade) == str(score.grade)
    assert found.updated.utcoffset() == timedelta(0)


def test_a_grade_that_sql_wrote_as_nan_is_no_missing_grade() -> None:
    score = BlockScore(float("nan"), float("-inf"), datetime.now(UTC))
    assert repr(sent(wire.StoredScore.of(score)).score()) == repr(score)


# Writes


@given(st.dictionaries(KEYS, st.tuples(st.lists(EDITS, max_size=4), st.none() | st.integers(0, 9)), max_size=4))
def test_changes_survive_in_their_order(edits: dict[Any, tuple[list[Change], int | None]]) -> None:
    changes: dict[Scope, dict[Any, Change]] = {}
    for (scope, key), (parts, revision) in edits.items():
        change = Change(condition=None if revision is None else Condition(key, revision))
        for part in parts:
            change = change.then(part)
        changes.setdefault(scope, {})[row_key(key, scope)] = change
    call = sent(wire.Write.of("ada", changes))
    found = {change.row_key(): read_back(change) for change in call.changes}
    assert found == {(scope, row): flat(change) for scope, by_row in changes.items() for row, change in by_row.items()}


def flat(change: Change) -> Any:
    """Return a change as values that compare."""
    edits = [
        ("delete", None if edit.fields is None else sorted(edit.fields))
        if isinstance(edit, Removal)
        else ("replace", edit.text)
        if isinstance(edit, Replacement)
        else ("set", join(edit.fields))
        for edit in change.edits
    ]
    return edits, change.score, change.condition and change.condition.revision


def read_back(change: wire.RowChange) -> Any:
    edits = [
        ("delete", wire.unpack_names(edit.fields))
        if isinstance(edit, wire.DeleteFields)
        else ("set" if isinstance(edit, wire.SetFields) else "replace", wire.unpack_json(edit.state))
        for edit in change.edits
    ]
    score = change.score and (change.score.grade, change.score.max_grade)
    return edits, score, change.if_revision


def test_a_call_written_twice_has_the_same_bytes() -> None:
    changes = {Scope.user_state: {row_key(BLOCK, Scope.user_state): removal(["b", "a", "c"])}}
    assert wire.encode(wire.Write.of("ada", changes)) == wire.encode(wire.Write.of("ada", changes))
    assert b'["a","b","c"]' in wire.encode(wire.Write.of("ada", changes))


def test_the_answer_to_a_write_has_the_rows_that_exist() -> None:
    now = datetime.now(UTC)
    rows = [row_key(make_block(name), Scope.user_state) for name in ("one", "two")]
    call = wire.Write.of("ada", {Scope.user_state: dict.fromkeys(rows, removal(None))})
    row = Row(4, "{}", 1.0, None, now, now)
    answer = wire.Rows(rows=[None, wire.StoredRow.of(row, with_state=False)])
    assert call.written(sent(answer)) == {Scope.user_state: {rows[1]: row._replace(text=None)}}


# History


@given(st.one_of(st.none(), FIELDS), TIMES, st.one_of(st.none(), TEXT.filter(str.isprintable)), st.booleans())
def test_an_entry_of_the_history_survives(
    fields: dict[str, Any] | None, updated: datetime, actor: str | None, archived: bool
) -> None:
    entry = HistoryEntry("ada", BLOCK, fields, updated, Scope.user_state, 3, BlockScore(1, 2, updated), actor, archived)
    found = sent(wire.StoredEntry.of(entry))
    again = found.state_or_damage()
    assert (again is None) == (fields is None)
    assert fields is None or join(encode_fields(again, "")) == join(encode_fields(fields, ""))
    assert (found.revision, found.score(), found.actor, found.archived) == (3, entry.score, actor, archived)


def test_a_damaged_entry_keeps_its_place() -> None:
    damage = DamagedHistory("revision 2 can't be read")
    entry = HistoryEntry("ada", BLOCK, damage, datetime.now(UTC), Scope.user_state, 2, None)
    found = sent(wire.StoredEntry.of(entry)).state_or_damage()
    assert isinstance(found, DamagedHistory)
    assert str(found) == str(damage)


# Errors

ERRORS = [value for value in vars(interface).values() if isinstance(value, type) and issubclass(value, Exception)]


@pytest.mark.parametrize("kind", [*ERRORS, TypeError, ValueError], ids=lambda kind: kind.__name__)
def test_an_error_comes_out_as_it_went_in(kind: type[Exception]) -> None:
    problem = wire.problem_of(kind("who did what"))
    found = wire.error_of(sent(problem))
    assert (type(found), str(found)) == (kind, "who did what")


def test_a_missing_state_has_the_revision_of_its_row() -> None:
    error = UserDoesNotExist("none")
    error.revision = 7
    found = wire.error_of(sent(wire.problem_of(error)))
    assert isinstance(found, DoesNotExist)
    assert found.revision == 7


def test_a_conflict_names_the_callers_own_keys() -> None:
    branched: Any = BLOCK
    branched = branched.for_branch("draft-branch")
    row = row_key(branched, Scope.user_state)
    changes = {Scope.user_state: {row: Change(condition=Condition(branched, 3))}}
    error = Conflict("changed", rows=[ConflictingRow(Scope.user_state, BLOCK, 3, 5)])
    problem = sent(wire.problem_of(error))
    assert (problem.status, problem.revision) == (412, 5)
    found = wire.error_of(problem, changes)
    assert isinstance(found, Conflict)
    assert found.rows == [ConflictingRow(Scope.user_state, branched, 3, 5)]


@pytest.mark.parametrize(("status", "kind"), [(599, interface.ServiceUnavailable), (499, interface.ServiceUnavailable)])
def test_an_unknown_problem_is_no_error_of_the_store(status: int, kind: type[Exception]) -> None:
    problem = wire.Problem(type="about:blank", title="New", status=status, code="NewKind")
    assert type(wire.error_of(problem)) is kind


def test_an_error_of_a_host_has_no_problem() -> None:
    assert wire.problem_of(RuntimeError("a secret")) is None


# Messages


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"\xff", "utf-8"),
        (b"[]", "Expected `object`"),
        (b'{"learner": "ada"}', "changes"),
        (b'{"learner": 5, "changes": []}', "learner"),
        (b'{"learner": "ada", "changes": [], "only": 1}', "only"),
        (b'{"changes": [{"edits": [{"edit": "other"}]}]}', "other"),
        (b'{"changes": [{"edits": [{"edit": "set", "state": NaN}]}]}', "malformed"),
        (b"[" * 100_000, "Expected `object`"),
    ],
)
def test_a_message_that_is_none_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(wire.DamagedMessage, match=reason):
        wire.decode(wire.Write, body)


def test_an_answer_of_a_newer_service_may_have_more_fields() -> None:
    assert wire.decode(wire.Rows, b'{"rows": [], "new": 1}') == wire.Rows(rows=[])


def test_a_stream_ends_with_its_last_line() -> None:
    lines = [wire.encode(wire.ResumeLine(resume="x")), wire.encode(wire.EndLine()), b"more"]
    assert list(wire.decode_lines(lines)) == [wire.ResumeLine(resume="x")]
    with pytest.raises(wire.DamagedMessage, match="cut"):
        list(wire.decode_lines(lines[:1]))


def test_an_error_in_a_stream_is_raised_at_its_place() -> None:
    problem = wire.problem("ServiceUnavailable", "the database is down")
    lines = wire.decode_lines(
        [wire.encode(wire.ResumeLine(resume="x")), wire.encode(wire.ProblemLine(problem=problem))]
    )
    assert next(lines) == wire.ResumeLine(resume="x")
    with pytest.raises(interface.ServiceUnavailable, match="down"):
        next(lines)


@pytest.mark.parametrize("revision", [0, 1, 2**63 - 1])
def test_a_revision_is_an_entity_tag(revision: int) -> None:
    assert wire.revision_of(wire.etag(revision)) == revision


@pytest.mark.parametrize("tag", ["*", "", '"x"', '"-1"', '"٣"', '"1", "2"', '"' + "9" * 30 + '"'])
def test_a_tag_of_no_revision_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="entity tag"):
        wire.revision_of(tag)


def test_the_course_of_tests_is_read_back() -> None:
    assert wire.unpack_course(str(COURSE)) == COURSE
    with pytest.raises(ValueError, match="no course"):
        wire.unpack_course("no course")


def test_all_decoders_are_made_at_the_import() -> None:
    # In a process of its own: other tests of this one may have made them.
    code = """
from xblock_user_state import wire
from xblock_user_state.wire.encoding import decoder
made = decoder.cache_info().misses
calls = wire.Call.__subclasses__()
for kind in (wire.Line, wire.Problem, *calls, *(call.answer for call in calls)):
    decoder(kind)
assert decoder.cache_info().misses == made, "a decoder is made at its first use"
"""
    subprocess.run([sys.executable, "-c", code], check=True)

"""One row, or a few, for each thing in old tables that an import can stumble over, with the expected outcome.

Each case has a block of its own, so that outcomes do not mix. A learner's row that an old site recorded has one entry
of history that equals it, unless the case is about history.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS, connections

from demo.old_tables.rows import NOON, insert_field, insert_history, insert_module
from demo.old_tables.schema import EXTENDED_HISTORY, HISTORY, INFO, MODULE, PREFERENCES, SUMMARY

# The course of most cases, and others.
COURSE = "course-v1:Sky+Physics+2016"
OLD_RUN = "Sky/Physics/2014"
SECOND_OLD_RUN = "Sky/Physics/2015"
CCX = "ccx-v1:Sky+Physics+2016+ccx@7"
LIBRARY = "lib:Sky:Physics"

GONE_USER = 999_999_999
NO_MODULE = 2_000_000_000
MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Entry:
    """One entry of a history; its time is aware."""

    state: dict[str, Any] | None
    created: datetime
    grade: float | None = None
    max_grade: float | None = None
    version: str | None = None


@dataclass(frozen=True)
class KeptModule:
    """A learner's row as an import keeps it. `history` is oldest first. `None` leaves `history` or
    `modified` open."""

    student_id: int
    context: str
    usage_key: str
    state: dict[str, Any] | None
    created: datetime
    modified: datetime | None
    grade: float | None = None
    max_grade: float | None = None
    done: str = "na"
    history: tuple[Entry, ...] | None = None


@dataclass(frozen=True)
class KeptField:
    """A value of another scope. `owner` is the block's type, the block's key, or empty; `context` is of summaries."""

    student_id: int | None
    owner: str
    name: str
    value: Any
    context: str | None = None


@dataclass(frozen=True)
class Case:
    """An old row, by table and id, and its outcome, in words and as data.

    `kept` is empty if the row is not taken, or adds nothing of its own. `reported` tells whether the report names the
    row; `None` leaves that open.
    """

    name: str
    table: str
    id: int
    outcome: str
    kept: tuple[KeptModule | KeptField, ...] = ()
    reported: bool | None = False


def block(name: str, block_type: str = "problem", course: str = COURSE) -> str:
    """Return the text of a block's key in a course."""
    if course.startswith("course-v1:"):
        return f"block-v1:{course.removeprefix('course-v1:')}+type@{block_type}+block@{name}"
    org, number, _run = course.split("/")
    return f"i4x://{org}/{number}/{block_type}/{name}"


def awkward(alias: str, history_alias: str | None = None) -> list[Case]:
    """Insert the rows of all cases, for two new learners; return the cases.

    The old tables must be there, the extended history's on `history_alias` if that is given.
    """
    learners = get_user_model()._default_manager.using(DEFAULT_DB_ALIAS)
    ada, ben = (learners.create(username=name).pk for name in ("awkward_ada", "awkward_ben"))
    cases = _Cases(alias, history_alias or alias, ada, ben)
    _keys(cases)
    _newlines(cases)
    _meetings(cases)
    _states(cases)
    _types(cases)
    _scores(cases)
    _times(cases)
    _histories(cases)
    _order(cases)
    _fields(cases)
    return cases.all


@dataclass
class _Cases:
    alias: str
    history_alias: str
    ada: int
    ben: int
    all: list[Case] = field(default_factory=list)

    def module(
        self,
        name: str,
        outcome: str,
        old: Mapping[str, Any] | None = None,
        kept: Mapping[str, Any] | None = None,
        **of_case: Any,
    ) -> int:
        """Insert a learner's row with the values `old`; it is kept with those of `kept`, and else as it is.

        Of the case: `entries` are the old history's rows, one that equals the row by default; `reported` as in `Case`.
        """
        values = {**self._defaults(name), **(old or {})}
        id_ = insert_module(self.alias, **values)
        for entry in of_case.get("entries", [_entry_like(values)]):
            insert_history(self.alias, id_, **entry)
        self.all.append(Case(name, MODULE, id_, outcome, (_kept(values, kept or {}),), of_case.get("reported", False)))
        return id_

    def left_out(self, name: str, outcome: str, **old: Any) -> int:
        """Insert a learner's row that is not taken."""
        id_ = insert_module(self.alias, **{**self._defaults(name), **old})
        self.all.append(Case(name, MODULE, id_, outcome, reported=True))
        return id_

    def entry(self, name: str, outcome: str, module: int, **values: Any) -> None:
        """Insert a row of an old history that is a case of its own."""
        table = values.pop("table", HISTORY)
        id_ = insert_history(self.alias_of(table), module, table, **values)
        self.all.append(Case(name, table, id_, outcome, reported=True))

    def field(self, name: str, outcome: str, old: Mapping[str, Any], *kept: KeptField, **of_case: Any) -> None:
        """Insert a value of another scope; nothing in `kept`: it is not taken."""
        values = dict(old)
        table = values.pop("table")
        id_ = insert_field(self.alias, table, **values)
        self.all.append(Case(name, table, id_, outcome, kept, of_case.get("reported", not kept)))

    def alias_of(self, table: str) -> str:
        return self.history_alias if table == EXTENDED_HISTORY else self.alias

    def _defaults(self, name: str) -> dict[str, Any]:
        return {
            "student_id": self.ada,
            "module_id": block(re.sub(r"\W+", "_", name)),
            "course_id": COURSE,
            "state": '{"seed": 1}',
            "created": NOON,
            "modified": NOON + MINUTE,
        }


def _entry_like(values: Mapping[str, Any]) -> dict[str, Any]:
    copied = {name: values[name] for name in ("state", "grade", "max_grade") if name in values}
    return {**copied, "created": values["modified"]}


def _kept(values: Mapping[str, Any], differing: Mapping[str, Any]) -> KeptModule:
    state = differing["state"] if "state" in differing else values["state"] and json.loads(values["state"])
    kept = {
        "student_id": values["student_id"],
        "context": values["course_id"],
        "usage_key": values["module_id"],
        "state": state,
        **{name: values[name] for name in ("created", "modified", "grade", "max_grade", "done") if name in values},
        **differing,
    }
    whole = KeptModule(**{"history": None, **kept})
    if "history" in kept:
        return whole
    recorded = "problem" in whole.usage_key
    entry = Entry(whole.state, whole.modified or values["modified"], whole.grade, whole.max_grade)
    return replace(whole, history=(entry,) if recorded else ())


def _keys(cases: _Cases) -> None:
    modern = "block-v1:Sky+Physics+2016"
    cases.module(
        "i4x in a run",
        "taken under its key in that run",
        {"module_id": block("run", course=OLD_RUN), "course_id": OLD_RUN},
    )
    cases.module(
        "i4x in a second run",
        "another block than the same key in the first run",
        {"module_id": block("run", course=OLD_RUN), "course_id": SECOND_OLD_RUN},
    )
    cases.module(
        "i4x in a course-v1 course",
        "the key becomes the course's",
        {"module_id": block("moved", course=OLD_RUN)},
        {"usage_key": f"{modern}+type@problem+block@moved"},
    )
    cases.module(
        "i4x of another organization",
        "organization and course of the key become the course's",
        {"module_id": "i4x://Other/Chemistry/problem/foreign", "course_id": OLD_RUN},
        {"usage_key": "i4x://Sky/Physics/problem/foreign"},
        reported=None,
    )
    for version, sign in (("v1", ""), ("v2", "$")):
        inside = f"block-v1{sign}:Sky+Physics+2016+type@problem+block@aside_{version}"
        cases.module(
            f"aside {version} of an i4x key",
            "the key of the block inside becomes the course's",
            {
                "module_id": f"aside-usage-{version}:i4x{sign}://Sky/Physics/problem/aside_{version}::notes",
                "module_type": "problem",
            },
            {"usage_key": f"aside-usage-{version}:{inside}::notes"},
        )
    cases.module(
        "master key in a CCX",
        "the key becomes the CCX's",
        {"module_id": block("custom"), "course_id": CCX},
        {"usage_key": "ccx-block-v1:Sky+Physics+2016+ccx@7+type@problem+block@custom"},
    )
    cases.module(
        "branch and version",
        "taken without them",
        {"module_id": f"{modern}+branch@published-branch+version@519665f6223ebd6980884f2b+type@problem+block@branched"},
        {"usage_key": f"{modern}+type@problem+block@branched"},
    )
    cases.module(
        "another case",
        "the course's case counts",
        {"module_id": "block-v1:sky+physics+2016+type@problem+block@case"},
        {"usage_key": f"{modern}+type@problem+block@case"},
        reported=None,
    )
    cut = f"{modern}+type@problem+block@".ljust(255, "x")
    cases.module("cut at 255 characters", "taken as it is, and reported", {"module_id": cut}, reported=True)
    cases.module(
        "library of the second version",
        "taken with its library as the context",
        {"module_id": "lb:Sky:Physics:problem:shelf", "course_id": LIBRARY, "module_type": "problem"},
    )
    cases.left_out("no usage key", "left out", module_id="problem/stars", module_type="problem")
    cases.left_out("no course key", "left out", course_id="Sky and Physics")
    cases.left_out("no course", "left out", course_id="")
    cases.left_out("a learner who is gone", "left out", student_id=GONE_USER)


def _newlines(cases: _Cases) -> None:
    kinds = {
        "course-v1 and newline": (COURSE, "\n"),
        "course-v1 and two newlines": (COURSE, "\n\n"),
        "course-v1, carriage return and newline": (COURSE, "\r\n"),
        "slashes and newline": (OLD_RUN, "\n"),
        "library and newline": (LIBRARY, "\n"),
    }
    for number, (name, (course, end)) in enumerate(kinds.items()):
        key = f"lb:Sky:Physics:problem:n{number}" if course == LIBRARY else block(f"n{number}", course=course)
        cases.module(
            name,
            "taken in the course without the newline",
            {"module_id": key, "course_id": course + end, "module_type": "problem"},
            {"context": course},
            reported=True,
        )
    cases.module(
        "newline after the block's key",
        "taken without the newline",
        {"module_id": block("n9") + "\n"},
        {"usage_key": block("n9")},
        reported=True,
    )


def _meetings(cases: _Cases) -> None:
    newer = {"state": '{"seed": 2}', "grade": 2.0, "max_grade": 2.0, "modified": NOON + 5 * MINUTE}
    pairs = {
        "newline": ({"module_id": block("twin"), "course_id": f"{COURSE}\n"}, {"module_id": block("twin")}),
        "i4x and block-v1": ({"module_id": block("met", course=OLD_RUN)}, {"module_id": block("met")}),
        "two organizations": (
            {"module_id": "i4x://Other/Chemistry/problem/both", "course_id": OLD_RUN},
            {"module_id": "i4x://Sky/Physics/problem/both", "course_id": OLD_RUN},
        ),
    }
    for name, (older, newest) in pairs.items():
        cases.left_out(f"two rows meet ({name}), the older", "the newer row serves", grade=1.0, max_grade=2.0, **older)
        cases.module(
            f"two rows meet ({name}), the newer", "serves", {**newest, **newer}, {"history": None}, reported=None
        )


def _states(cases: _Cases) -> None:
    cases.module("null state", "a row without state", {"state": None, "grade": 1.0, "max_grade": 1.0})
    cases.module("empty object", "kept apart from no state", {"state": "{}"})
    cases.module("words for numbers", "taken", {"state": '{"a": NaN, "b": [Infinity, -Infinity]}'}, reported=True)
    cases.module("numbers at the edge", "taken exactly", {"state": '{"a": 123456789012345678901234567890, "b": -0.0}'})
    cases.module("order of the fields", "taken", {"state": '{"b": 1,   "a": "\u2605", "c": "\\u2605"}'})
    broken = {
        "no JSON": '{"seed": ',
        "text after the object": '{"seed": 1} {"seed": 2}',
        "not an object": "[1, 2]",
        "the word null": "null",
        "empty text": "",
        "white space": " ",
    }
    for name, text in broken.items():
        cases.module(
            f"state: {name}",
            "the scores are taken, the text never as state",
            {"state": text, "grade": 1.0, "max_grade": 3.0},
            {"state": None},
            reported=True,
        )
    of_entry = cases.module(
        "an entry with a broken state",
        "the entry stays without state",
        entries=[],
        kept={"history": (Entry(None, NOON), Entry({"seed": 1}, NOON + MINUTE))},
    )
    cases.entry("a broken state in the history", "stays as an entry without state", of_entry, state="{", created=NOON)
    insert_history(cases.alias, of_entry, created=NOON + MINUTE)


def _types(cases: _Cases) -> None:
    cases.module(
        "empty type", "recorded from now on: one entry, from the row", {"module_type": ""}, entries=(), reported=True
    )
    cases.module(
        "type cut at 32 characters",
        "the key's type counts",
        {
            "module_id": block("cut", "a_block_type_of_more_than_32_characters"),
            "module_type": "a_block_type_of_more_than_32_cha",
        },
        entries=(),
        reported=True,
    )
    cases.module(
        "contradicting type, not recorded",
        "the key's type counts: one entry, from the row",
        {"module_type": "html"},
        entries=(),
        reported=True,
    )
    cases.module(
        "contradicting type, recorded",
        "the key's type counts; its history is kept or reported",
        {"module_id": block("text", "html"), "module_type": "problem"},
        {"history": None},
        reported=None,
    )
    cases.module("a type without history", "no entry", {"module_id": block("clip", "video")}, entries=())


def _scores(cases: _Cases) -> None:
    cases.module("maximum without grade", "kept", {"max_grade": 5.0})
    cases.module("grade without maximum", "kept", {"grade": 0.5})
    cases.module("grade above the maximum", "kept", {"grade": 7.0, "max_grade": 5.0})
    cases.module("finished", "kept", {"done": "f"})
    cases.module("incomplete", "kept", {"done": "i"})


def _times(cases: _Cases) -> None:
    cases.module("whole seconds", "kept", {"created": NOON, "modified": NOON + timedelta(seconds=1)})
    cases.module(
        "microseconds", "kept", {"created": NOON + MICROSECOND, "modified": NOON + timedelta(microseconds=999_999)}
    )
    cases.module("created after modified", "kept", {"created": NOON + 9 * MINUTE}, reported=None)
    long_ago = _long_ago(cases.alias)
    with _any_date(cases.alias):
        for name in ("created", "modified"):
            other = {"created": NOON, "modified": NOON, name: long_ago}
            cases.module(
                f"no date of {name}",
                "the row's other time is taken",
                other,
                {"created": NOON, "modified": NOON},
                entries=[{"created": NOON}],
                reported=True,
            )
        of_entry = cases.module(
            "an entry without a date",
            "the entry is kept, before all others",
            entries=[{"created": NOON + MINUTE}],
            kept={"history": None},
        )
        cases.entry("no date in the history", "kept before all others", of_entry, state='{"seed": 0}', created=long_ago)


def _histories(cases: _Cases) -> None:
    first, second, third = ({"n": number} for number in (1, 2, 3))
    old = {"state": '{"n": 3}', "modified": NOON + 3 * MINUTE}
    three = tuple(Entry(state, NOON + n * MINUTE) for n, state in enumerate((first, second, third), start=1))
    rows = [_row(entry) for entry in three]
    cases.module("three entries", "revisions 1 to 3", old, {"history": three}, entries=rows)
    copied = cases.module("copies in both tables", "each entry once", old, {"history": three}, entries=rows[:2])
    split = cases.module(
        "newer entries in the extended table", "in one order", old, {"history": three}, entries=rows[:1]
    )
    inverted = cases.module("newer ids of older entries", "times count", old, {"history": three}, entries=rows[2:])
    for module, of_module in ((copied, rows), (split, rows[1:]), (inverted, rows[:2])):
        for row in of_module:
            insert_history(cases.history_alias, module, EXTENDED_HISTORY, **row)
    cases.module("entries out of order", "times count", old, {"history": three}, entries=rows[::-1])
    versioned = (replace(three[2], version="v 1"),)
    cases.module("version", "kept", old, {"history": versioned}, entries=[{**rows[2], "version": "v 1"}])
    states = (Entry(None, NOON), Entry({}, NOON + MINUTE), three[2])
    cases.module(
        "entries without state and with an empty one", "kept apart", old, {"history": states}, entries=map(_row, states)
    )
    cases.module(
        "the row is newer than its newest entry",
        "one more entry, from the row",
        {**old, "state": '{"n": 4}', "modified": NOON + 9 * MINUTE},
        {"history": (*three, Entry({"n": 4}, NOON + 9 * MINUTE))},
        entries=rows,
        reported=None,
    )
    cases.module(
        "the row differs from its newest entry in the score only",
        "one more entry, from the row",
        {**old, "grade": 1.0, "max_grade": 1.0, "modified": NOON + 9 * MINUTE},
        {"history": (*three, Entry(third, NOON + 9 * MINUTE, 1.0, 1.0))},
        entries=rows,
        reported=None,
    )
    cases.module(
        "the row is older than its newest entry, which equals it",
        "the row gets the entry's time",
        {**old, "modified": NOON},
        {"history": three, "modified": NOON + 3 * MINUTE},
        entries=rows,
        reported=True,
    )
    cases.module(
        "the row is older than its newest entry, which differs",
        "one more entry, from the row, right after",
        {**old, "state": '{"n": 4}', "modified": NOON},
        {
            "history": (*three, Entry({"n": 4}, NOON + 3 * MINUTE + MICROSECOND)),
            "modified": NOON + 3 * MINUTE + MICROSECOND,
        },
        entries=rows,
        reported=True,
    )
    for table in (HISTORY, EXTENDED_HISTORY):
        cases.entry(f"no module: {table}", "left out", NO_MODULE, table=table)


def _order(cases: _Cases) -> None:
    graded = {"grade": 1.0, "max_grade": 1.0}
    last = NOON + MINUTE
    cases.module(
        "two rows for one submission",
        "two entries; the second is a microsecond later, and the row too",
        {"state": '{"n": 2}', "modified": last, **graded},
        {
            "history": (Entry({"n": 1}, last, 1.0, 1.0), Entry({"n": 2}, last + MICROSECOND, 1.0, 1.0)),
            "modified": last + MICROSECOND,
        },
        entries=[{"state": '{"n": 1}', "created": last, **graded}, {"state": '{"n": 2}', "created": last, **graded}],
        reported=None,
    )
    cases.module(
        "equal rows of one second",
        "kept or merged; the newest is the row",
        {"modified": last},
        {"history": None, "modified": None},
        entries=[{"created": last}, {"created": last}],
        reported=None,
    )
    times = (NOON, NOON, NOON + MICROSECOND)
    cases.module(
        "ties that run into the next entry",
        "each entry is later than the one before",
        {"state": '{"n": 3}', "modified": times[2]},
        {
            "history": tuple(Entry({"n": n}, NOON + (n - 1) * MICROSECOND) for n in (1, 2, 3)),
            "modified": NOON + 2 * MICROSECOND,
        },
        entries=[{"state": f'{{"n": {n}}}', "created": time} for n, time in enumerate(times, start=1)],
        reported=None,
    )
    tied = cases.module(
        "a tie of both tables",
        "the old table's entry is the first",
        {"state": '{"n": 2}', "modified": last},
        {"history": (Entry({"n": 1}, last), Entry({"n": 2}, last + MICROSECOND)), "modified": last + MICROSECOND},
        entries=(),
        reported=None,
    )
    insert_history(cases.history_alias, tied, EXTENDED_HISTORY, state='{"n": 2}', created=last)
    insert_history(cases.alias, tied, state='{"n": 1}', created=last)


def _fields(cases: _Cases) -> None:
    ada, ben = cases.ada, cases.ben
    preference = {
        "table": PREFERENCES,
        "student_id": ada,
        "module_type": "video",
        "field_name": "speed",
        "value": "1.5",
    }
    cases.field("preference", "taken", preference, KeptField(ada, "video", "speed", 1.5))
    volume = {**preference, "field_name": "volume", "value": "NaN"}
    cases.field(
        "second preference, a word for a number",
        "in the same row",
        volume,
        KeptField(ada, "video", "volume", float("nan")),
        reported=True,
    )
    family = "block-type-v1:xblock_asides.v1:notes"
    cases.field(
        "preference of another family",
        "taken",
        {**preference, "module_type": family},
        KeptField(ada, family, "speed", 1.5),
    )
    cases.field(
        "preference: null",
        "taken",
        {**preference, "student_id": ben, "value": "null"},
        KeptField(ben, "video", "speed", None),
    )
    cases.field("preference: no JSON", "left out", {**preference, "field_name": "broken", "value": "1.5.2"})
    cases.field("preference: empty text", "left out", {**preference, "field_name": "empty", "value": ""})
    cases.field("preference of a learner who is gone", "left out", {**preference, "student_id": GONE_USER})
    info = {"table": INFO, "student_id": ada, "field_name": "language", "value": '"de"'}
    cases.field("info", "taken", info, KeptField(ada, "", "language", "de"))
    cases.field(
        "second info", "in the same row", {**info, "field_name": "n", "value": "[1]"}, KeptField(ada, "", "n", [1])
    )
    cases.field("info: no JSON", "left out", {**info, "field_name": "broken", "value": "de"})
    key = block("poll", "poll")
    summary = {"table": SUMMARY, "usage_id": key, "field_name": "votes", "value": '{"a": 2}'}
    cases.field("summary", "taken", summary, KeptField(None, key, "votes", {"a": 2}, COURSE))
    cases.field("summary: no JSON", "left out", {**summary, "field_name": "broken", "value": "{"})
    cases.field("summary: no usage key", "left out", {**summary, "usage_id": "poll"})
    _summaries_of_runs(cases, summary)


def _summaries_of_runs(cases: _Cases, summary: Mapping[str, Any]) -> None:
    key = block("votes", "poll", OLD_RUN)
    for course in (OLD_RUN, SECOND_OLD_RUN):
        cases.module(
            f"a poll of {course}", "taken", {"module_id": key, "course_id": course, "module_type": "poll"}, entries=()
        )
    cases.field(
        "summary of an i4x key",
        "copied to each run in which a learner has the block",
        {**summary, "usage_id": key},
        *(KeptField(None, key, "votes", {"a": 2}, course) for course in (OLD_RUN, SECOND_OLD_RUN)),
        reported=None,
    )
    unseen = block("unseen", "poll", OLD_RUN)
    cases.field("summary of an i4x key in no run", "left out", {**summary, "usage_id": unseen})


def _row(entry: Entry) -> dict[str, Any]:
    values = {"grade": entry.grade, "max_grade": entry.max_grade, "version": entry.version, "created": entry.created}
    return {**values, "state": None if entry.state is None else json.dumps(entry.state)}


def _long_ago(alias: str) -> str | datetime:
    """Return the date that means no date: a zero date on MariaDB, elsewhere a year before 1000."""
    if connections[alias].vendor == "mysql":
        return "0000-00-00 00:00:00"
    return datetime(999, 12, 31, tzinfo=UTC)


@contextmanager
def _any_date(alias: str) -> Iterator[None]:
    """Let MariaDB store zero dates, as sites with an old `sql_mode` did."""
    if connections[alias].vendor != "mysql":
        yield
        return
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT @@SESSION.sql_mode")
        mode = cursor.fetchone()[0]
        cursor.execute("SET SESSION sql_mode = ''")
        try:
            yield
        finally:
            cursor.execute("SET SESSION sql_mode = %s", [mode])

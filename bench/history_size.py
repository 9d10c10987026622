"""How many bytes the history takes: as deltas, as full copies in our table, and as full copies in the old table.

Learners work on problems side by side, so that rows come to the tables in the order in which a site writes them. The
states are `bench.recordings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

import simplejson
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, models
from django.db.models import Count, Sum
from django.db.models.functions import Length
from django.test import override_settings
from django.utils import timezone
from opaque_keys.edx.keys import UsageKey
from opaque_keys.edx.locator import CourseLocator

from bench import recordings
from bench.recordings import Problem, Revision
from bench.report import Results, table
from bench.sizes import size_of
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModuleHistory
from xblock_user_state.state import codec

COURSE = CourseLocator("Starfield", "BENCH", "2026")


class Crowd(NamedTuple):
    """How many learners there are, and how many problems each of them works on."""

    learners: int
    problems: int


@dataclass(frozen=True)
class Scenario:
    """A problem, how often it is really done for the recordings, and how often these are replayed."""

    problem: Problem
    recorded: int
    crowd: Crowd


# Large enough that the pages and extents that tables grow by do not count.
SCENARIOS = (
    Scenario(recordings.TEN_INPUTS, recorded=10, crowd=Crowd(learners=40, problems=15)),
    Scenario(recordings.FIVE_INPUTS, recorded=5, crowd=Crowd(learners=15, problems=10)),
)

Entry = TypeVar("Entry")

STORED_AS = {
    "delta": "deltas",
    "plain": "full copies",
    "old": "full copies in the old table",
    "uncompressed": "the same, uncompressed",
}


class OldHistory(models.Model):
    """The shape of the table that we replace, with its indexes."""

    id = models.BigAutoField(primary_key=True)
    student_module_id = models.BigIntegerField(db_index=True)
    version = models.CharField(max_length=255, null=True, db_index=True)
    created = models.DateTimeField(db_index=True, default=timezone.now)
    state = models.TextField(null=True)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)

    class Meta:
        # An app that is not installed: no migration and no flush knows of the table.
        app_label = "bench"
        db_table = "bench_old_history"

    def __str__(self) -> str:
        return f"module {self.student_module_id}, entry {self.id}"


def prepare(folder: Path) -> None:
    """Let some learners do each problem, and keep what that left in `folder`."""
    users = get_user_model().objects
    for scenario in SCENARIOS:
        name = scenario.problem.name
        learners = [users.create_user(f"{name}, {number}") for number in range(scenario.recorded)]
        recorded = [recordings.record(scenario.problem, user, Random(user.username)) for user in learners]
        _file(folder, scenario).write_text(codec.encode(recorded))


def measure(folder: Path) -> Results:
    """Fill the tables of this database from the recordings in `folder`, one after the other, and return their sizes."""
    return {scenario.problem.name: _measure(scenario, _recorded(folder, scenario)) for scenario in SCENARIOS}


def section(results: Mapping[str, Results]) -> str:
    """Return a table for each problem, from the results of each database."""
    return "\n\n".join(_subsection(scenario, results) for scenario in SCENARIOS)


def _file(folder: Path, scenario: Scenario) -> Path:
    return folder / f"{scenario.problem.url_name}.json"


def _recorded(folder: Path, scenario: Scenario) -> list[list[Revision]]:
    recorded = codec.decode(_file(folder, scenario).read_text())
    return [[Revision(**revision) for revision in history] for history in recorded]


def _measure(scenario: Scenario, recorded: Sequence[Sequence[Revision]]) -> Results:
    return {
        "delta": _measure_ours("delta", scenario.crowd, recorded),
        "plain": _measure_ours("plain", scenario.crowd, recorded),
        "old": _measure_old(scenario.crowd, recorded),
        **_measure_uncompressed(scenario.crowd, recorded),
    }


def _measure_ours(encoding: str, crowd: Crowd, recorded: Sequence[Sequence[Revision]]) -> Results:
    call_command("flush", interactive=False, verbosity=0)
    with override_settings(XBLOCK_USER_STATE={"HISTORY_ENCODING": encoding}):
        replay(crowd, recorded)
    return _measured(StudentModuleHistory, "body")


def _measure_uncompressed(crowd: Crowd, recorded: Sequence[Sequence[Revision]]) -> Results:
    """Measure what the other databases store, where the database compresses long values by itself."""
    if connection.vendor != "postgresql":
        return {}
    return {"uncompressed": _measure_old(crowd, recorded, "ALTER COLUMN state SET STORAGE EXTERNAL")}


def _measure_old(crowd: Crowd, recorded: Sequence[Sequence[Revision]], alter: str = "") -> Results:
    entries = [[_old_columns(revision) for revision in history] for history in recorded]
    with connection.schema_editor() as editor:
        editor.create_model(OldHistory)
        if alter:
            editor.execute(f"ALTER TABLE {OldHistory._meta.db_table} {alter}")
    for learner, columns in _rounds(crowd, entries):
        modules = count(learner * crowd.problems)
        OldHistory._base_manager.bulk_create(
            OldHistory(student_module_id=module, **values) for module, values in zip(modules, columns, strict=False)
        )
    measured = _measured(OldHistory, "state")
    with connection.schema_editor() as editor:
        editor.delete_model(OldHistory)
    return measured


def _old_columns(revision: Revision) -> dict[str, Any]:
    # The text has spaces between the items, as it is written there.
    return {**revision._asdict(), "state": simplejson.dumps(revision.state)}


def _measured(model: type[models.Model], column: str) -> Results:
    """Return the bytes of the table, how many entries it has, and the bytes of what they keep of the states."""
    found = model._base_manager.aggregate(entries=Count("pk"), states=Sum(Length(column)))
    return {**found, **size_of(model._meta.db_table)._asdict()}


def replay(crowd: Crowd, recorded: Sequence[Sequence[Revision]]) -> None:
    """Let each learner of the crowd, who are made for it, do what was recorded, in problems of their own."""
    users = get_user_model().objects
    users.bulk_create([get_user_model()(username=f"learner{number}") for number in range(crowd.learners)])
    clients = [(user.get_username(), DjangoXBlockUserStateClient(user)) for user in users.order_by("pk")]
    keys = [COURSE.make_usage_key("problem", f"{number:032x}") for number in range(crowd.problems)]
    for learner, revisions in _rounds(crowd, recorded):
        _write(*clients[learner], dict(zip(keys, revisions, strict=True)))


def _write(username: str, client: DjangoXBlockUserStateClient, revisions: Mapping[UsageKey, Revision]) -> None:
    with client.batch(username) as batch:
        for key, (state, grade, max_grade) in revisions.items():
            batch.set(key, state)
            batch.set_score(key, grade, max_grade)


def _rounds(crowd: Crowd, recorded: Sequence[Sequence[Entry]]) -> Iterator[tuple[int, list[Entry]]]:
    """Yield who writes next, and the next entries of that learner's problems. All get on at the same pace."""
    for number in range(len(recorded[0])):
        for learner in range(crowd.learners):
            problems = range(learner * crowd.problems, (learner + 1) * crowd.problems)
            yield learner, [recorded[problem % len(recorded)][number] for problem in problems]


def _subsection(scenario: Scenario, results: Mapping[str, Results]) -> str:
    name = scenario.problem.name
    rows = [row for database, of_database in results.items() for row in _rows(database, of_database[name])]
    heads = ("database", "stored as", "table", "indexes", "bytes an entry", "times as many as deltas")
    return f"**{name}**: {_average_text(next(iter(results.values()))[name]['plain'])}\n\n{table(heads, rows)}"


def _average_text(full_copies: Results) -> str:
    entries = full_copies["entries"]
    return f"{entries:,} entries; the JSON text of one has {full_copies['states'] / entries:,.0f} bytes on average."


def _rows(database: str, measured: Results) -> Iterator[tuple[str, ...]]:
    deltas = _total(measured["delta"])
    for stored_as in sorted(measured, key=[*STORED_AS].index):
        one = measured[stored_as]
        yield (
            database,
            STORED_AS[stored_as],
            _megabytes(one["table"]),
            _megabytes(one["indexes"]),
            f"{_total(one) / one['entries']:,.0f}",
            f"{_total(one) / deltas:.1f}",
        )


def _total(measured: Results) -> int:
    total: int = measured["table"] + measured["indexes"]
    return total


def _megabytes(number: int) -> str:
    return f"{number / 1e6:,.1f} MB"

"""Bytes of the history: as deltas, as packs, and as full copies, in the package's table and in the old table.

The states are recordings of real problems (`bench.site.recordings`). Learners work side by side, so that rows reach the
tables in the order in which a site would write them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
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

from bench.page.report import Results
from bench.site import recordings
from bench.site.recordings import Problem, Revision
from bench.site.sizes import size_of
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.state import codec

COURSE = CourseLocator("Starfield", "BENCH", "2026")


class Crowd(NamedTuple):
    """Number of learners, and of problems that each of them works on."""

    learners: int
    problems: int


@dataclass(frozen=True)
class Scenario:
    """A problem, the number of learners whose work is recorded, and the crowd that replays the recordings."""

    problem: Problem
    recorded: int
    crowd: Crowd


# Large enough that the pages and extents by which tables grow do not matter.
SCENARIOS = (
    Scenario(recordings.TEN_INPUTS, recorded=10, crowd=Crowd(learners=40, problems=15)),
    Scenario(recordings.FIVE_INPUTS, recorded=5, crowd=Crowd(learners=15, problems=10)),
)

_REBUILDS = {"postgresql": "VACUUM FULL {table}", "mysql": "OPTIMIZE TABLE {table}", "sqlite": "VACUUM"}

Entry = TypeVar("Entry")


class OldHistory(models.Model):
    """The history table that the package replaces, with its indexes."""

    id = models.BigAutoField(primary_key=True)
    student_module_id = models.BigIntegerField(db_index=True)
    version = models.CharField(max_length=255, null=True, db_index=True)
    created = models.DateTimeField(db_index=True, default=timezone.now)
    state = models.TextField(null=True)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)

    class Meta:
        # An app that the demo does not install, so that no migration and no flush touches the table.
        app_label = "bench"
        db_table = "bench_old_history"

    def __str__(self) -> str:
        return f"module {self.student_module_id}, entry {self.id}"


def prepare(folder: Path) -> None:
    """Record some learners at work on each problem, into files in `folder`."""
    users = get_user_model().objects
    for scenario in SCENARIOS:
        name = scenario.problem.name
        learners = [users.create_user(f"{name}, {number}") for number in range(scenario.recorded)]
        recorded = [recordings.record(scenario.problem, user, Random(user.username)) for user in learners]
        _file(folder, scenario).write_text(codec.encode(recorded))


def measure(folder: Path) -> Results:
    """Replay the recordings into each table in turn, and return the sizes of the tables."""
    return {scenario.problem.name: _measure(scenario, _recorded(folder, scenario)) for scenario in SCENARIOS}


def _file(folder: Path, scenario: Scenario) -> Path:
    return folder / f"{scenario.problem.url_name}.json"


def _recorded(folder: Path, scenario: Scenario) -> list[list[Revision]]:
    recorded = codec.decode(_file(folder, scenario).read_text())
    return [[Revision(**revision) for revision in history] for history in recorded]


def _measure(scenario: Scenario, recorded: Sequence[Sequence[Revision]]) -> Results:
    return {
        "delta": _measure_ours("delta", scenario.crowd, recorded),
        "packed": _measure_packed(),
        "plain": _measure_ours("plain", scenario.crowd, recorded),
        "old": _measure_old(scenario.crowd, recorded),
        **_measure_uncompressed(scenario.crowd, recorded),
    }


def _measure_ours(encoding: str, crowd: Crowd, recorded: Sequence[Sequence[Revision]]) -> Results:
    call_command("flush", interactive=False, verbosity=0)
    with override_settings(XBLOCK_USER_STATE={"HISTORY_ENCODING": encoding}):
        replay(crowd, recorded)
    return _measured(StudentModuleHistory, "body")


def _measure_packed() -> Results:
    """Measure the deltas that were replayed last, after packing, in a table as it is after a rebuild."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"older_than": "0h", "state_file": Path(folder) / "position.json"}
        call_command("compact_history", verbosity=0, stdout=StringIO(), **options)
    with connection.cursor() as cursor:
        cursor.execute(_REBUILDS[connection.vendor].format(table=StudentModuleHistory._meta.db_table))
    # A row of the table is a pack now, but the entries are the same.
    entries = sum(StudentModule._base_manager.values_list("revision", flat=True))
    return {**_measured(StudentModuleHistory, "body"), "entries": entries}


def _measure_uncompressed(crowd: Crowd, recorded: Sequence[Sequence[Revision]]) -> Results:
    """Measure full copies without PostgreSQL's own compression, as the other databases store them."""
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
    # The default separators, with spaces, are those of the replaced table.
    return {**revision._asdict(), "state": simplejson.dumps(revision.state)}


def _measured(model: type[models.Model], column: str) -> Results:
    """Return the bytes of the table and its indexes, the number of entries, and the bytes of their bodies."""
    found = model._base_manager.aggregate(entries=Count("pk"), states=Sum(Length(column)))
    return {**found, **size_of(model._meta.db_table)._asdict()}


def replay(crowd: Crowd, recorded: Sequence[Sequence[Revision]]) -> None:
    """Create the learners of the crowd, and let each replay the recordings in problems of their own."""
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
    """Yield a learner and the next entry of each of their problems, all learners in turn."""
    for number in range(len(recorded[0])):
        for learner in range(crowd.learners):
            problems = range(learner * crowd.problems, (learner + 1) * crowd.problems)
            yield learner, [recorded[problem % len(recorded)][number] for problem in problems]

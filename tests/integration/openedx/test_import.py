"""The import of the old tables, checked row by row through the public API."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from tests.factories import make_learners
from tests.openedx_tables import Case, KeptField, KeptModule, awkward, insert_history, insert_module, old_tables
from tests.openedx_tables.awkward import COURSE, block
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import DoesNotExist
from xblock_user_state.models import Block, StudentModule, StudentModuleHistory
from xblock_user_state.openedx.models import ImportedModule
from xblock_user_state.state.keys import parse_block

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tables(transactional_db: None) -> Iterator[None]:
    with old_tables("default"):
        yield


def run(**options: Any) -> str:
    output = io.StringIO()
    call_command("import_openedx", source="default", stdout=output, **options)
    return output.getvalue()


def check_history() -> None:
    call_command("check_history", stdout=io.StringIO())


def reported(path: Path) -> dict[tuple[str, Any], list[str]]:
    found: dict[tuple[str, Any], list[str]] = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        line = json.loads(text)
        found.setdefault((line["table"], line["id"]), []).append(line["reason"])
    return found


def key_of(context: str, usage_key: str) -> UsageKey:
    return parse_block(context, usage_key)


def stored(kept: KeptModule) -> StudentModule | None:
    found = StudentModule.objects.filter(
        student_id=kept.student_id, block__context__key=kept.context, block__usage_key=kept.usage_key
    )
    return found.first()


def same(one: Any, other: Any) -> bool:
    """Compare JSON values; NaN equals NaN."""
    return json.dumps(one) == json.dumps(other)


def disagreements(case: Case) -> Iterator[str]:
    client = DjangoXBlockUserStateClient()
    for kept in case.kept:
        if isinstance(kept, KeptField):
            yield from _field_disagreements(client, kept)
            continue
        row = stored(kept)
        if row is None:
            yield f"{kept.usage_key} in {kept.context} is missing"
            continue
        for name in ("created", "modified", "grade", "max_grade", "done"):
            wanted, is_open = getattr(kept, name), name == "modified" and kept.modified is None
            if not is_open and getattr(row, name) != wanted:
                yield f"{name} is {getattr(row, name)}, not {wanted}"
        if not same(row.state if row.state is None else json.loads(row.state), kept.state):
            yield f"state is {row.state}, not {kept.state}"
        if kept.history is not None:
            yield from _history_disagreements(client, kept, row)


def _history_disagreements(client: DjangoXBlockUserStateClient, kept: KeptModule, row: StudentModule) -> Iterator[str]:
    name = get_user_model()._default_manager.get(pk=kept.student_id).get_username()
    key = key_of(kept.context, kept.usage_key)
    found: list[tuple[Any, ...]] = []
    try:
        history = list(client.get_history(name, key))
    except DoesNotExist:
        history = []
    models = {entry.revision: entry for entry in StudentModuleHistory.get_history([row])}
    for number, entry in enumerate(reversed(history), start=1):
        found.append(
            (entry.state, entry.updated, models[number].grade, models[number].max_grade, models[number].version)
        )
    wanted = [
        (entry.state or None, entry.created, entry.grade, entry.max_grade, entry.version)
        for entry in kept.history or ()
    ]
    if not same([one[0] for one in found], [one[0] for one in wanted]) or [one[1:] for one in found] != [
        one[1:] for one in wanted
    ]:
        yield f"history is {found}, not {wanted}"


def _field_disagreements(client: DjangoXBlockUserStateClient, kept: KeptField) -> Iterator[str]:
    name = ""
    if kept.student_id is not None:
        name = get_user_model()._default_manager.get(pk=kept.student_id).get_username()
    key: Any
    if kept.context:
        scope, key = Scope.user_state_summary, key_of(kept.context, kept.owner)
    elif kept.owner:
        scope, key = Scope.preferences, kept.owner
    else:
        scope, key = Scope.user_info, None
    try:
        value = (client.get(name or "awkward_ada", key, scope).state or {})[kept.name]
    except (DoesNotExist, KeyError):
        yield f"{scope} {kept.owner}.{kept.name} is missing"
        return
    is_nan = isinstance(value, float) and math.isnan(value)
    if value != kept.value and not (is_nan and math.isnan(kept.value)):
        yield f"{kept.name} is {value}, not {kept.value}"


def test_every_awkward_row_has_its_outcome(tables: None, tmp_path: Path) -> None:
    cases = awkward("default")
    report = tmp_path / "report.jsonl"
    run(report=report)
    lines = reported(report)
    faults = {case.name: list(disagreements(case)) for case in cases}
    for case in cases:
        reasons = lines.get((case.table, case.id), [])
        if case.reported is not None and bool(reasons) is not case.reported:
            faults[case.name].append(f"report: {reasons}")
    wrong = [f"{name}: {found}" for name, found in faults.items() if found]
    assert not wrong, "\n".join(wrong)
    check_history()


def test_a_second_pass_and_a_catch_up_change_nothing(tables: None) -> None:
    awkward("default")
    run()
    before = contents()
    run()
    assert contents() == before
    assert "\n0 rows and 0 history entries were written" in run(catch_up=True)
    assert contents() == before


def contents() -> list[Any]:
    return [
        list(model.objects.order_by("pk").values_list())
        for model in (StudentModule, StudentModuleHistory, ImportedModule, Block)
    ]


def compare(**options: Any) -> str:
    output = io.StringIO()
    call_command("compare_openedx", source="default", stdout=output, **options)
    return output.getvalue()


def test_nothing_differs_after_an_import(tables: None) -> None:
    awkward("default")
    run()
    assert compare(history=True) == ""
    assert "rows, sum" in compare(courses=True)


def test_a_field_that_differs_is_named(tables: None) -> None:
    learner = make_learners("ann")[0]
    module = insert_module(
        "default", student_id=learner.pk, module_id=block("stars"), course_id=COURSE, state='{"a": 1}'
    )
    insert_history("default", module, state='{"a": 1}')
    run()
    DjangoXBlockUserStateClient().set("ann", key_of(COURSE, block("stars")), {"a": 2, "b": 3})
    output = io.StringIO()
    with pytest.raises(CommandError, match="2 fields differ: a 1, b 1"):
        call_command("compare_openedx", source="default", stdout=output)
    lines = output.getvalue().splitlines()
    assert lines == [
        f"learner {learner.pk}, {block('stars')} in {COURSE}: a: old 1, ours 2",
        f"learner {learner.pk}, {block('stars')} in {COURSE}: b: old absent, ours 3",
    ]

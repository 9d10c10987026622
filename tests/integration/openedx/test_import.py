"""The import of the old tables, checked row by row through the public API."""

from __future__ import annotations

import gc
import io
import json
import math
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from demo.old_tables import insert_field, insert_history, insert_module, old_tables
from demo.old_tables.rows import NOON
from demo.old_tables.schema import EXTENDED, EXTENDED_HISTORY, HISTORY, MAIN, MODULE, PREFERENCES, SUMMARY
from tests.factories import make_learners
from tests.openedx_tables import Case, KeptField, KeptModule, awkward
from tests.openedx_tables.awkward import COURSE, MINUTE, OLD_RUN, block
from tests.relaying import ship_all
from xblock_user_state import conf
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.interface import DoesNotExist
from xblock_user_state.models import Block, Preferences, StudentModule, StudentModuleHistory
from xblock_user_state.openedx.importing import histories, spool, storing
from xblock_user_state.openedx.models import ImportedModule, ImportProgress
from xblock_user_state.openedx.old import keys, reading
from xblock_user_state.openedx.old.reasons import Reason
from xblock_user_state.state.keys import parse_block

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tables(transactional_db: None) -> Iterator[None]:
    with old_tables("default"):
        yield


def run(**options: Any) -> str:
    output = io.StringIO()
    call_command("import_openedx", **{"source": "default", **options}, stdout=output)
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
    call_command("compare_openedx", **{"source": "default", **options}, stdout=output)
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


def insert_problem(learner: Any, name: str = "stars", state: str = '{"a": 1}', **values: Any) -> int:
    """Insert a row of a problem, with one entry of history that equals it."""
    module = insert_module(
        "default", student_id=learner.pk, module_id=block(name), course_id=COURSE, state=state, **values
    )
    insert_history("default", module, state=state, created=values.get("modified", NOON))
    return module


def save(module: int, state: str, *, at: datetime, has_history: bool = True) -> None:
    """Change an old row, as the platform does."""
    with connection.cursor() as cursor:
        time = connection.ops.adapt_datetimefield_value(at)
        cursor.execute(f"UPDATE {MODULE} SET state = %s, modified = %s WHERE id = %s", [state, time, module])
    if has_history:
        insert_history("default", module, EXTENDED_HISTORY, state=state, created=at)


def history_of(name: str, block_name: str = "stars") -> list[Any]:
    entries = DjangoXBlockUserStateClient().get_history(name, key_of(COURSE, block(block_name)))
    return [entry.state for entry in entries][::-1]


@pytest.fixture
def ann(tables: None) -> Any:
    return make_learners("ann")[0]


def test_a_catch_up_appends_the_new_entries(ann: Any) -> None:
    module = insert_problem(ann)
    run()
    first = list(StudentModuleHistory.objects.values_list())
    now = datetime.now(UTC)
    save(module, '{"a": 2}', at=now)
    save(module, '{"a": 3}', at=now + MINUTE)
    assert "1 rows and 2 history entries were written" in run(catch_up=True)
    assert history_of("ann") == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert list(StudentModuleHistory.objects.order_by("revision").values_list())[:1] == first
    assert StudentModule.objects.get().modified == now + MINUTE
    check_history()
    assert compare(history=True) == ""


def test_a_catch_up_reads_only_the_new_entries(ann: Any) -> None:
    module = insert_problem(ann, state='{"a": 9}', modified=NOON + 9 * MINUTE)
    for number in range(9):
        # Two of one time are no copies: they stand in one table.
        insert_history("default", module, state=f'{{"a": {number}}}', created=NOON + number // 2 * MINUTE)
    run()
    now = datetime.now(UTC)
    save(module, '{"a": 10}', at=now)
    save(module, '{"a": 11}', at=now + MINUTE)
    assert "1 rows with 3 history entries were read" in run(catch_up=True)
    assert history_of("ann") == [{"a": number} for number in range(12)]
    check_history()
    assert compare(history=True) == ""


def test_a_catch_up_of_a_history_with_copies_takes_none_of_them(ann: Any) -> None:
    module = insert_problem(ann)
    for number in (2, 3):
        for table in (HISTORY, EXTENDED_HISTORY):
            insert_history("default", module, table, state='{"a": 1}', created=NOON + number * MINUTE)
    run()
    assert history_of("ann") == [{"a": 1}] * 3
    save(module, '{"a": 2}', at=datetime.now(UTC))
    assert "1 rows and 1 history entries were written" in run(catch_up=True)
    assert history_of("ann") == [*[{"a": 1}] * 3, {"a": 2}]
    check_history()


def test_a_catch_up_looks_for_other_rows_about_a_block_only_where_there_are_any(
    ann: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = insert_problem(ann, "moon")
    older, newer = (
        insert_module(
            "default",
            student_id=ann.pk,
            module_id=block("stars", course=course),
            course_id=COURSE,
            state=f'{{"row": {n}}}',
            modified=NOON + n * MINUTE,
        )
        for n, course in enumerate((OLD_RUN, COURSE))
    )
    run()
    asked: list[int] = []
    modules_by_id = reading.OldSite.modules_by_id

    def noted(site: Any, ids: Any) -> Any:
        asked.extend(ids)
        return modules_by_id(site, ids)

    monkeypatch.setattr(reading.OldSite, "modules_by_id", noted)
    now = datetime.now(UTC)
    save(alone, '{"a": 2}', at=now)
    run(catch_up=True)
    assert asked == []
    save(older, '{"row": 2}', at=now)
    run(catch_up=True)
    assert asked == [newer]
    row = StudentModule.objects.get(block__usage_key=block("stars"))
    assert row.state == '{"row":2}'
    assert set(ImportedModule.objects.filter(block_id=row.block_id).values_list("id", flat=True)) == {older, newer}
    assert compare() == ""


def test_a_catch_up_takes_new_rows(ann: Any) -> None:
    run()
    now = datetime.now(UTC)
    insert_problem(ann, created=now, modified=now)
    run(catch_up=True)
    assert history_of("ann") == [{"a": 1}]


def test_a_packed_history_goes_on_and_is_corrected(ann: Any, tmp_path: Path) -> None:
    module = insert_problem(ann)
    now = datetime.now(UTC)
    save(module, '{"a": 2}', at=NOON + MINUTE)
    run()
    call_command("compact_history", older_than="0h", state_file=tmp_path / "position.json", stdout=io.StringIO())
    save(module, '{"a": 3}', at=now)
    run(catch_up=True)
    assert history_of("ann") == [{"a": 1}, {"a": 2}, {"a": 3}]
    check_history()
    call_command("compact_history", older_than="0h", state_file=tmp_path / "position.json", stdout=io.StringIO())
    # The old tables have an entry more, between those of the pack.
    insert_history("default", module, EXTENDED_HISTORY, state='{"a": 9}', created=NOON + MINUTE / 2)
    save(module, '{"a": 4}', at=now + MINUTE)
    run(catch_up=True)
    assert history_of("ann") == [{"a": 1}, {"a": 9}, {"a": 2}, {"a": 3}, {"a": 4}]
    check_history()


def test_a_catch_up_corrects_a_history_that_was_read_too_early(ann: Any) -> None:
    # The entry of the extended table is committed before its row.
    module = insert_problem(ann)
    now = datetime.now(UTC)
    insert_history("default", module, EXTENDED_HISTORY, state='{"a": 2}', created=now)
    run()
    assert history_of("ann") == [{"a": 1}, {"a": 2}, {"a": 1}]
    save(module, '{"a": 2}', at=now, has_history=False)
    run(catch_up=True)
    assert history_of("ann") == [{"a": 1}, {"a": 2}]
    check_history()


def test_a_row_that_changed_here_is_left_alone_unless_the_source_wins(ann: Any, tmp_path: Path) -> None:
    module = insert_problem(ann)
    run()
    DjangoXBlockUserStateClient().set("ann", key_of(COURSE, block("stars")), {"ours": 1})
    save(module, '{"a": 2}', at=datetime.now(UTC))
    run(catch_up=True, report=tmp_path / "report")
    assert reported(tmp_path / "report") == {(MODULE, module): ["ours_changed"]}
    assert history_of("ann") == [{"a": 1}, {"a": 1, "ours": 1}]
    run(catch_up=True, source_wins=True)
    assert history_of("ann") == [{"a": 1}, {"a": 2}]
    check_history()
    assert compare(history=True) == ""


def test_a_row_that_was_deleted_here_is_not_imported_again(ann: Any, tmp_path: Path) -> None:
    module = insert_problem(ann)
    run()
    StudentModule.objects.get().delete()
    run(report=tmp_path / "report")
    assert reported(tmp_path / "report") == {(MODULE, module): ["ours_changed"]}
    assert not StudentModule.objects.exists()


def test_a_state_whose_old_row_is_gone_is_removed_on_request(ann: Any, tmp_path: Path) -> None:
    module = insert_problem(ann)
    insert_problem(ann, "moon")
    run()
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {MODULE} WHERE id = %s", [module])
        cursor.execute(f"DELETE FROM {HISTORY} WHERE student_module_id = %s", [module])
    with pytest.raises(CommandError, match="1 fields differ: row 1"):
        compare()
    run(remove_gone=True, report=tmp_path / "report")
    assert reported(tmp_path / "report") == {(MODULE, module): ["gone"]}
    assert compare() == ""
    assert history_of("ann", "moon") == [{"a": 1}]
    check_history()


def test_a_pass_that_removes_rows_reads_no_more_of_them_at_once(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for learner in make_learners(*"abcde"):
        insert_problem(learner)
    run()
    read: list[int] = []
    modules = reading.OldSite.modules

    def counted(*arguments: Any) -> list[Any]:
        found = modules(*arguments)
        read.append(len(found))
        return found

    monkeypatch.setattr(reading.OldSite, "modules", counted)
    run(remove_gone=True, batch=2)
    assert sum(read) == 10
    assert max(read) == 2


def test_a_row_that_was_deleted_and_made_again_is_replaced(ann: Any) -> None:
    module = insert_problem(ann)
    run()
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {MODULE} WHERE id = %s", [module])
        cursor.execute(f"DELETE FROM {HISTORY} WHERE student_module_id = %s", [module])
    now = datetime.now(UTC)
    again = insert_problem(ann, state='{"again": 1}', created=now, modified=now)
    run(catch_up=True)
    assert history_of("ann") == [{"again": 1}]
    assert list(ImportedModule.objects.values_list("id", flat=True)) == [again]
    check_history()


def test_a_dry_run_writes_nothing_and_reports_the_same(tables: None, tmp_path: Path) -> None:
    awkward("default")
    run(dry_run=True, report=tmp_path / "dry")
    assert [list(rows) for rows in contents()] == [[], [], [], []]
    assert not ImportProgress.objects.exists()
    run(report=tmp_path / "report")
    assert reported(tmp_path / "dry") == reported(tmp_path / "report")


def test_a_catch_up_needs_a_first_pass(tables: None) -> None:
    with pytest.raises(CommandError, match="no first pass"):
        run(catch_up=True)


def test_a_catch_up_without_the_ranges_of_the_first_pass_names_them(tables: None) -> None:
    run(range=":5")
    run(range="6:")
    with pytest.raises(CommandError, match=r"has ended; use the ranges of .*: 6:, :5$"):
        run(catch_up=True)


def test_the_range_without_a_beginning_reports_history_without_a_row(ann: Any, tmp_path: Path) -> None:
    entry = insert_history("default", 4711)
    run(range=f"{ann.pk}:", report=tmp_path / "other")
    run(range=f":{ann.pk - 1}", report=tmp_path / "first")
    assert reported(tmp_path / "other") == {}
    assert reported(tmp_path / "first") == {(HISTORY, entry): ["history_without_module"]}


def test_old_tables_without_extended_history_are_named(ann: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {EXTENDED_HISTORY}")
    errors = io.StringIO()
    run(stderr=errors)
    assert "name its alias by --history-from" in errors.getvalue()


def test_one_course_and_one_learner_alone(ann: Any) -> None:
    ben = make_learners("ben")[0]
    insert_problem(ann)
    insert_problem(ben)
    insert_module("default", student_id=ann.pk, module_id=block("sun", course=OLD_RUN), course_id=OLD_RUN)
    run(learner="ann", course=COURSE)
    assert StudentModule.objects.values_list("student_id", "block__context__key").get() == (ann.pk, COURSE)
    run(range=f"{ben.pk}:")
    assert StudentModule.objects.count() == 2
    run(range=f":{ben.pk - 1}")
    assert StudentModule.objects.count() == 3
    assert compare() == ""


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a history of 50 entries a long one."""
    monkeypatch.setattr(histories, "LONG_HISTORY", 20)
    monkeypatch.setattr(reading, "_CHUNK", 7)
    monkeypatch.setattr(spool, "PAGE", 6)
    monkeypatch.setattr(storing, "_MOST_ROWS", 10)


def insert_long_history(learner: Any) -> int:
    texts = [f'{{"a": {n}}}' for n in range(50)]
    module = insert_problem(learner, state=texts[-1], modified=NOON + 60 * MINUTE)
    for number, text in enumerate(texts[:-1]):
        table = EXTENDED_HISTORY if number % 3 else HISTORY
        insert_history("default", module, table, state=text, created=NOON + number * MINUTE)
    return module


@pytest.mark.parametrize(
    "is_extended", [False, pytest.param(True, marks=pytest.mark.extended_history)], ids=["default", "extended"]
)
def test_a_long_history_is_read_and_written_in_pieces(
    ann: Any, settings: Any, small_pieces: None, *, is_extended: bool
) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": is_extended}
    module = insert_long_history(ann)
    insert_problem(ann, "moon")
    run()
    assert history_of("ann") == [{"a": n} for n in range(50)]
    assert history_of("ann", "moon") == [{"a": 1}]
    now = datetime.now(UTC)
    for number in range(50, 80):
        save(module, f'{{"a": {number}}}', at=now + number * MINUTE)
    assert "1 rows with 31 history entries were read" in run(catch_up=True)
    assert history_of("ann") == [{"a": n} for n in range(80)]
    # The whole is another one.
    insert_history("default", module, HISTORY, state='{"a": -1}', created=NOON - MINUTE)
    run()
    if is_extended:
        ship_all()
    assert history_of("ann") == [{"a": n} for n in range(-1, 80)]
    check_history()
    assert compare(history=True) == ""


def test_the_memory_of_an_import_does_not_grow_with_the_length_of_a_history(
    ann: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "_MOST_BYTES", 1_000_000)
    # Full copies, of which each is as long as its state.
    settings.XBLOCK_USER_STATE = {"HISTORY_ENCODING": "plain"}
    peaks = []
    for learner, count in zip(make_learners("ben", "cem", "dan"), (10, 1500, 6000), strict=True):
        state = json.dumps({"a": "x" * 4000})
        module = insert_problem(learner, state=state, modified=NOON + count * MINUTE)
        time_of = connection.ops.adapt_datetimefield_value
        rows = [(module, state, time_of(NOON + number * MINUTE)) for number in range(1, count)]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {HISTORY} (student_module_id, state, created) VALUES (%s, %s, %s)", rows)
        del rows
        gc.collect()
        tracemalloc.start()
        assert f"1 rows and {count:,} history entries were written" in run(learner=learner.username)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The first import fills caches. The places of all entries are held, without their states.
    assert peaks[2] < 1.5 * peaks[1]


def test_a_row_that_the_database_refuses_does_not_stop_the_others(ann: Any, tmp_path: Path) -> None:
    modules = [insert_problem(ann, name) for name in ("moon", "stars", "sun")]
    # History whose row is gone: the row can't be inserted beside it.
    DjangoXBlockUserStateClient().set("ann", key_of(COURSE, block("stars")), {"lost": 1})
    StudentModule.objects.all()._raw_delete("default")
    run(report=tmp_path / "report")
    assert reported(tmp_path / "report") == {(MODULE, modules[1]): ["refused"]}
    assert StudentModule.objects.count() == 2
    assert history_of("ann", "sun") == [{"a": 1}]


def test_a_course_that_needs_the_package_of_ccx_keys_is_named(
    ann: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keys, "_knows_ccx", lambda: False)
    found = keys.block_of("ccx-v1:broken", block("stars"))
    assert isinstance(found, keys.Unmapped)
    assert found.reason is Reason.CCX_KEYS_MISSING


@pytest.mark.extended_history
def test_entries_go_to_the_extended_history_where_the_site_writes_it(ann: Any, settings: Any) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True}
    module = insert_problem(ann)
    run()
    assert not StudentModuleHistory.objects.exists()
    assert extended_model()._base_manager.using(conf.history_database()).count() == 1
    save(module, '{"a": 2}', at=datetime.now(UTC))
    run(catch_up=True)
    assert history_of("ann") == [{"a": 1}, {"a": 2}]
    check_history()
    # Another history, made again.
    save(module, '{"a": 3}', at=datetime.now(UTC), has_history=False)
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {HISTORY}")
    run(catch_up=True)
    assert history_of("ann") == [{"a": 2}, {"a": 3}]
    ship_all()
    assert history_of("ann") == [{"a": 2}, {"a": 3}]
    check_history()


@pytest.mark.extended_history
def test_the_old_extended_history_may_have_a_database_of_its_own(transactional_db: None, tmp_path: Path) -> None:
    with old_tables("default", MAIN), old_tables("student_module_history", EXTENDED):
        cases = awkward("default", "student_module_history")
        run(history_from="student_module_history", report=tmp_path / "report")
        wrong = [f"{case.name}: {found}" for case in cases if (found := list(disagreements(case)))]
        assert not wrong, "\n".join(wrong)
        assert compare(history_from="student_module_history", history=True) == ""
        lines = reported(tmp_path / "report")
        assert [reasons for (table, _), reasons in lines.items() if table == EXTENDED_HISTORY] == [
            ["history_without_module"]
        ]


def test_verification_compares_and_checks(tables: None) -> None:
    awkward("default")
    output = run(verify=True)
    assert f"{COURSE}: old " in output
    assert "entries were checked" in output


def test_a_row_that_changed_here_fails_the_verification(ann: Any) -> None:
    insert_problem(ann)
    run()
    DjangoXBlockUserStateClient().set_score("ann", key_of(COURSE, block("stars")), 3, 5)
    with pytest.raises(CommandError, match="2 fields differ: grade 1, max_grade 1"):
        run(verify=True)


def test_the_verification_makes_all_its_checks_though_one_fails(ann: Any) -> None:
    insert_problem(ann)
    run()
    StudentModule._base_manager.update(state='{"a": 2}')
    output = io.StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("import_openedx", source="default", verify=True, stdout=output)
    assert str(raised.value) == (
        "compare_openedx: 1 fields differ: a 1\n"
        "check_history: 1 rows disagree with their history: run repair_history --dry-run."
    )
    assert "a: old 1, ours 2" in output.getvalue()
    assert "1 rows with 1 entries were checked." in output.getvalue()


def test_the_rate_is_limited(ann: Any) -> None:
    for number in range(4):
        insert_problem(ann, f"stars{number}")
    started = time.monotonic()
    run(rate=8)
    assert time.monotonic() - started > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learner": "nobody"}, "none of the users is called 'nobody'"),
        ({"range": "5"}, "it must be two ids"),
        ({"range": "a:b"}, "it must be two ids"),
        ({"range": "1:2", "learner": "1"}, "exclude each other"),
        ({"range": "2:1"}, "its first id is above its last"),
        ({"course": "course-v1:Sky+Typo+2021"}, "no row of the course"),
        ({"report": Path("/nowhere/report")}, "--report can't be written"),
        ({"rate": 0}, "it must be 1 or more"),
        ({"history_from": "nowhere"}, "DATABASES has no 'nowhere'"),
        ({"remove_gone": True, "catch_up": True}, "--remove-gone needs a pass over whole learners"),
    ],
)
def test_bad_options_are_named(tables: None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(**options)


def test_a_database_without_old_tables_is_named(transactional_db: None) -> None:
    with pytest.raises(CommandError, match="has no table courseware_studentmodule"):
        run()


def test_preferences_and_summaries_follow_the_source(ann: Any) -> None:
    preference = insert_field(
        "default", PREFERENCES, student_id=ann.pk, module_type="video", field_name="speed", value="1.5"
    )
    insert_field("default", SUMMARY, usage_id=block("poll", "poll"), field_name="votes", value="1")
    run()
    client = DjangoXBlockUserStateClient()
    later = connection.ops.adapt_datetimefield_value(datetime.now(UTC))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {PREFERENCES} SET value = '2', modified = %s", [later])
        cursor.execute(f"UPDATE {SUMMARY} SET value = '2', modified = %s", [later])
    run(catch_up=True)
    assert client.get("ann", "video", Scope.preferences).state == {"speed": 2}
    key = key_of(COURSE, block("poll", "poll"))
    assert client.get("ann", key, Scope.user_state_summary).state == {"votes": 2}
    client.set("ann", "video", {"speed": 3}, Scope.preferences)
    with pytest.raises(CommandError, match="1 fields differ: speed 1"):
        compare()
    run(catch_up=True)
    assert client.get("ann", "video", Scope.preferences).state == {"speed": 3}
    run(catch_up=True, source_wins=True)
    assert client.get("ann", "video", Scope.preferences).state == {"speed": 2}
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {PREFERENCES} WHERE id = %s", [preference])
    run(remove_gone=True)
    assert not Preferences.objects.exists()
    assert compare() == ""


def test_the_old_ids_of_a_deleted_learner_are_deleted(ann: Any) -> None:
    insert_problem(ann)
    run()
    assert ImportedModule.objects.count() == 1
    ann.delete()
    assert not ImportedModule.objects.exists()
    assert not StudentModule.objects.exists()

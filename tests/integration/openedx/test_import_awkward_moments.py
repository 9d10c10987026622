"""``import_openedx`` where rows, databases and other writers do what nobody expects of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection, connections, models, transaction
from django.db.utils import OperationalError
from xblock.fields import Scope

from demo.old_tables import insert_field, insert_history, insert_module, old_tables
from demo.old_tables.rows import NOON
from demo.old_tables.schema import EXTENDED_HISTORY, HISTORY, MODULE, SUMMARY
from tests.factories import make_learners
from tests.integration.openedx.test_import import (
    check_history,
    compare,
    contents,
    disagreements,
    history_of,
    insert_problem,
    key_of,
    reported,
    run,
    save,
)
from tests.openedx_tables import awkward
from tests.openedx_tables.awkward import COURSE, MINUTE, block
from tests.relaying import ship_all
from xblock_user_state import conf
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.models import HistoryOutbox, StudentModule, UserStateSummary
from xblock_user_state.openedx.importing import building, learners, loading, storing
from xblock_user_state.openedx.management import old_site
from xblock_user_state.openedx.models import ImportedModule
from xblock_user_state.openedx.old.reading import OldSite
from xblock_user_state.store.dialects import mysql

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann(transactional_db: None) -> Iterator[Any]:
    with old_tables("default"):
        yield make_learners("ann")[0]


@pytest.mark.skipif(connection.vendor != "mysql", reason="other servers take rows of any size")
def test_a_row_that_no_packet_takes_is_refused_and_the_others_are_taken(
    ann: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = [insert_problem(ann, name) for name in ("moon", "stars", "sun")]
    # Quotes double: the old server takes them as they are in a file of its own, ours takes them in a statement.
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        [limit] = cursor.fetchone()
        cursor.execute(
            f"UPDATE {MODULE} SET state = CONCAT('{{\"a\":\"', REPEAT('x', 200000), '\"}}') WHERE id = %s", [modules[1]]
        )
    monkeypatch.setattr(mysql, "_STATEMENT_BYTES", limit - 100_000)
    run(report=tmp_path / "report")
    lines = (tmp_path / "report").read_text()
    assert reported(tmp_path / "report")[(MODULE, modules[1])][-1] == "refused"
    assert "max_allowed_packet" in lines
    assert StudentModule.objects.count() == 2
    check_history()


@pytest.mark.parametrize("change", [{"state": '{"sql":1}'}, {"grade": 3.0}])
def test_a_change_by_sql_that_leaves_the_revision_is_left_alone(
    ann: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    module = insert_problem(ann)
    other = insert_module("default", student_id=ann.pk, module_id=block("intro", "html"), course_id=COURSE)
    run()
    StudentModule._base_manager.update(**change)
    now = datetime.now(UTC)
    save(module, '{"a": 2}', at=now)
    save(other, '{"a": 2}', at=now, has_history=False)
    run(catch_up=True, report=tmp_path / "report")
    assert reported(tmp_path / "report") == {(MODULE, module): ["ours_changed"], (MODULE, other): ["ours_changed"]}
    assert StudentModule.objects.filter(**change).count() == 2
    run(remove_gone=True, source_wins=True)
    assert compare() == ""
    check_history()


def test_rows_that_have_not_changed_are_not_read_again_with_their_histories(
    ann: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("moon", "stars", "sun"):
        insert_problem(ann, name)
    run()
    before = contents()
    changed = insert_problem(ann, "mars")
    built: list[int] = []
    build = building.build

    def counted(source: Any, *arguments: Any) -> Any:
        built.extend(module.id for module in source.modules)
        return build(source, *arguments)

    monkeypatch.setattr(learners, "build", counted)
    assert "4 rows with 1 history entries were read" in run()
    assert built == [changed]
    assert [row for row in contents()[0] if row in before[0]] == before[0]


def test_a_second_pass_sees_a_change_that_left_the_time(ann: Any) -> None:
    module = insert_problem(ann)
    run()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {MODULE} SET state = %s WHERE id = %s", ['{"a": 9}', module])
    run()
    assert history_of("ann") == [{"a": 1}, {"a": 9}]
    assert compare(history=True) == ""


def test_a_second_pass_sees_an_entry_that_came_late(ann: Any) -> None:
    module = insert_problem(ann)
    run()
    insert_history("default", module, EXTENDED_HISTORY, state='{"early": 1}', created=NOON - MINUTE)
    run()
    assert history_of("ann") == [{"early": 1}, {"a": 1}]
    check_history()


def test_a_course_whose_old_text_has_a_newline_is_selected(ann: Any) -> None:
    insert_module("default", student_id=ann.pk, module_id=block("stars"), course_id=f"{COURSE}\n")
    run(course=COURSE)
    assert StudentModule.objects.count() == 1
    assert compare(course=COURSE) == ""


def test_a_summary_that_was_deleted_in_the_source_is_named_and_removed(ann: Any, tmp_path: Path) -> None:
    for name in ("poll", "vote"):
        insert_field("default", SUMMARY, usage_id=block(name, "poll"), field_name="votes", value="1")
    run()
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {SUMMARY} WHERE usage_id = %s", [block("poll", "poll")])
    with pytest.raises(CommandError, match="1 fields differ: votes 1"):
        compare()
    run(remove_gone=True, report=tmp_path / "report")
    assert [reasons for (table, _), reasons in reported(tmp_path / "report").items() if table == SUMMARY] == [["gone"]]
    assert UserStateSummary.objects.count() == 1
    assert compare() == ""


def test_a_summary_that_changed_here_is_kept_when_its_source_is_gone(ann: Any) -> None:
    insert_field("default", SUMMARY, usage_id=block("poll", "poll"), field_name="votes", value="1")
    run()
    key = key_of(COURSE, block("poll", "poll"))
    DjangoXBlockUserStateClient().set("ann", key, {"votes": 2}, Scope.user_state_summary)
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {SUMMARY}")
    run(remove_gone=True)
    assert UserStateSummary.objects.count() == 1
    run(remove_gone=True, source_wins=True)
    assert not UserStateSummary.objects.exists()


@pytest.mark.extended_history
def test_a_refused_row_leaves_no_history_behind(
    ann: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True}
    module = insert_problem(ann)
    load = loading.load

    def refuse(database: str, model: Any, columns: Any, rows: Any) -> None:
        if model is ImportedModule and rows:
            raise OperationalError("no")
        load(database, model, columns, rows)

    with monkeypatch.context() as patch:
        patch.setattr(storing, "load", refuse)
        run(report=tmp_path / "report")
    assert reported(tmp_path / "report") == {(MODULE, module): ["refused"]}
    assert not StudentModule.objects.exists()
    ship_all()
    assert not extended_model()._base_manager.using(conf.history_database()).exists()
    assert not HistoryOutbox.objects.exists()
    run()
    ship_all()
    assert history_of("ann") == [{"a": 1}]
    check_history()


def test_learners_whose_lines_cannot_be_written_are_taken_again(
    ann: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = insert_module("default", student_id=ann.pk, module_id=block("stars"), course_id=COURSE, state="broken")
    with monkeypatch.context() as patch:
        patch.setattr("xblock_user_state.openedx.importing.report.as_json", no_space)
        with pytest.raises(CommandError, match="interrupted: no space left"):
            run(report=tmp_path / "report")
    assert not StudentModule.objects.exists()
    run(report=tmp_path / "report")
    assert "broken_state" in reported(tmp_path / "report")[(MODULE, module)]


def test_lines_of_a_commit_that_failed_are_written_once(
    ann: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = insert_module("default", student_id=ann.pk, module_id=block("stars"), course_id=COURSE, state="broken")
    ours = connections["default"]
    commit = ours.commit
    failed: list[bool] = []

    def fail_once() -> None:
        if StudentModule.objects.exists() and not failed:
            failed.append(True)
            raise conflict()
        commit()

    with monkeypatch.context() as patch:
        patch.setattr(ours, "commit", fail_once)
        assert "1 taken: broken_state" in run(report=tmp_path / "report")
    assert failed
    assert reported(tmp_path / "report")[(MODULE, module)].count("broken_state") == 1
    assert StudentModule.objects.count() == 1


def conflict() -> OperationalError:
    """Return the error of a transaction that another one has stopped."""
    database: Any = connection.Database  # type: ignore[attr-defined]
    cause = database.OperationalError(1213, "deadlock")
    if connection.vendor == "sqlite":
        cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
    elif connection.vendor == "postgresql":
        cause = database.errors.SerializationFailure("could not serialize access")
    error = OperationalError(*cause.args)
    error.__cause__ = cause
    return error


def no_space(*_: object) -> str:
    raise OSError("no space left")


def test_a_source_that_goes_down_leaves_nobody_out(ann: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass stops: rows of a source that is down are not refused ones."""
    for name in ("moon", "stars", "sun"):
        insert_problem(ann, name)
    cause = connection.Database.OperationalError(2006, "server has gone away")  # type: ignore[attr-defined]
    if connection.vendor == "sqlite":
        cause.sqlite_errorcode = sqlite3.SQLITE_IOERR
    error = OperationalError(*cause.args)
    error.__cause__ = cause

    def down(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(OldSite, "entries", down)
        with pytest.raises(CommandError, match=r"interrupted: .*gone away"):
            run(report=tmp_path / "report")
    assert not (tmp_path / "report").read_text()
    run()
    assert StudentModule.objects.count() == 3


def test_users_with_other_keys_than_integers_are_refused(ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_site, "value_field", lambda _: models.UUIDField())
    with pytest.raises(CommandError, match=r"the old tables know users by integers; .* of the type UUIDField"):
        run()


def test_one_row_may_have_very_many_entries(ann: Any) -> None:
    module = insert_problem(ann, state='{"a": 2999}', modified=NOON + 3000 * MINUTE)
    rows = [
        (module, json.dumps({"a": number}), connection.ops.adapt_datetimefield_value(NOON + number * MINUTE))
        for number in range(1, 2999)
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {HISTORY} (student_module_id, state, created) VALUES (%s, %s, %s)", rows)
    run()
    assert len(history_of("ann")) == 2999
    assert compare(history=True) == ""
    check_history()


@pytest.mark.extended_history
def test_the_old_site_may_have_a_database_of_its_own(transactional_db: None, tmp_path: Path) -> None:
    with old_tables("student_module_history"):
        cases = awkward("student_module_history")
        run(source="student_module_history", report=tmp_path / "report")
        wrong = [f"{case.name}: {found}" for case in cases if (found := list(disagreements(case)))]
        assert not wrong, "\n".join(wrong)
        assert compare(source="student_module_history", history=True) == ""
        check_history()

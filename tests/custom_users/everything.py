"""Calls and commands beside a user model of another kind. `tests.integration.test_user_models` runs this module."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.management import CommandError, call_command
from django.db import NotSupportedError
from django.utils import timezone
from pytest_django import Settings
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from tests.factories import COURSE, make_block, make_blocks
from tests.integration.rows import assert_history_is_gapless
from xblock_user_state import actions
from xblock_user_state.archive.format import read_export
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.history import deletion
from xblock_user_state.history.entries import Key, Owner, extended_model, stores
from xblock_user_state.hosting import store_for
from xblock_user_state.interface import PermissionDenied, UserId
from xblock_user_state.maintenance import deletion as deletion_for_good
from xblock_user_state.maintenance import moved_history, moving, paging
from xblock_user_state.maintenance.modified import rows_modified
from xblock_user_state.maintenance.verification import Verification
from xblock_user_state.models import HistoryOutbox, StudentModule, StudentModuleHistory, UserInfo
from xblock_user_state.openedx.models import CompatibleStudentModule, ImportedModule
from xblock_user_state.openedx.views.definitions import has_numbers
from xblock_user_state.runtime import UserStateKeyValueStore, clear_masquerade
from xblock_user_state.state.keys import identify_block
from xblock_user_state.store.users import account, id_of, user_id

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

ONE, TWO = BLOCKS = make_blocks(2)
THREE = make_blocks(3)[2]
NAMES = [f"learner{number}" for number in range(4)]
CALLS = 3


@pytest.fixture
def people(settings: Settings) -> dict[str, Any]:
    settings.XBLOCK_USER_STATE = {"RECORDED_BLOCK_TYPES": "*"}
    return {name: get_user_model().objects.create_user(name) for name in NAMES}


def _answer(name: str, calls: int = CALLS, user: Any = None) -> None:
    client = Client(user)
    for number in range(calls):
        client.set_many(name, {block: {"of": name, "number": number, "text": "word " * 30} for block in BLOCKS})
        client.set_score(name, ONE, number, 10)


def _run(command: str, *arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command(command, *arguments, stdout=output, **options)
    return output.getvalue()


def test_a_user_is_found_by_name_as_by_the_orm(people: dict[str, Any]) -> None:
    fields = [field.attname for field in get_user_model()._meta.concrete_fields]
    for name, user in people.items():
        user.last_login = timezone.now()
        user.save()
        found, expected = account(name), get_user_model()._base_manager.get(**{user.USERNAME_FIELD: name})
        assert [getattr(found, field) for field in fields] == [getattr(expected, field) for field in fields]
        assert found == expected
        assert user_id(name) == expected.pk
    assert (account("nobody"), user_id("nobody")) == (None, None)


def test_all_scopes_are_read_and_iterated(people: dict[str, Any]) -> None:
    for name, user in people.items():
        _answer(name, 2, user)
        Client().set(name, "problem", {"of": name}, Scope.preferences)
        Client().set(name, None, {"of": name}, Scope.user_info)
    client = Client()
    for name in NAMES:
        assert [dict(found.state or {})["of"] for found in client.get_many(name, BLOCKS)] == [name] * 2
        assert client.get(name, "problem", Scope.preferences).state == {"of": name}
        assert client.get(name, None, Scope.user_info).state == {"of": name}
        assert client.get_scores(name, BLOCKS)[ONE].grade == 1
        assert [entry.revision for entry in client.get_history(name, ONE)] == [4, 3, 2, 1]
    for size in (1, 2, 3, 100):
        found = [
            list(client.iter_all_for_block(ONE, batch_size=size)),
            list(client.iter_all_for_block("problem", Scope.preferences, batch_size=size)),
            list(client.iter_all_for_block(None, Scope.user_info, batch_size=size)),
        ]
        for states in found:
            assert sorted(str(state.username) for state in states) == NAMES
            assert all(dict(state.state or {})["of"] == state.username for state in states)
        of_course = [(state.username, state.block_key) for state in client.iter_all_for_course(COURSE, batch_size=size)]
        assert sorted(of_course) == [(name, block) for name in NAMES for block in BLOCKS]
    assert {entry.actor_id for entry in StudentModuleHistory.objects.all()} == {user.pk for user in people.values()}
    assert_history_is_gapless()


def test_learners_by_id_their_activity_and_changes_in_a_time(people: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(paging, "PAGE", 3)
    for name, user in people.items():
        id_ = UserId(id_of(user))
        assert Client().set_score(id_, ONE, 1, 2) == Client().get_scores(name, [ONE])[ONE].updated
        Client().set(UserId(str(id_.id)), TWO, {"of": name})
        assert Client().get(id_, TWO).state == {"of": name}
        assert [found.block_key for found in Client().get_latest(id_, 2)] == [TWO, ONE]
        assert [entry.username for entry in Client(user).get_history(id_, TWO)] == [id_]
    since = Client().get_latest(NAMES[1])[0].updated
    found = list(rows_modified(since))
    assert sorted(str(row.username) for row in found) == sorted([NAMES[1], *NAMES[2:], *NAMES[2:]])
    assert [*rows_modified(since, after=(found[1].student_id, found[1].block_id))] == found[2:]
    with pytest.raises(ValueError, match="is not the id of a user"):
        Client().get(UserId(1.5), ONE)


def test_saved_instances(people: dict[str, Any]) -> None:
    for name in NAMES[:2]:
        _answer(name, 2)
    for module in StudentModule.objects.filter(block_id=identify_block(ONE).id):
        Client().set(module.student.get_username(), ONE, {"meanwhile": 1})
        module.grade, module.state = 5, '{"of": "staff"}'
        module.save()
        module.refresh_from_db()
        assert module.state == '{"of":"staff","meanwhile":1}'
    user = people[NAMES[2]]
    module, created = StudentModule.objects.update_or_create(
        student=user, block_id=identify_block(ONE).id, defaults={"state": '{"of": "new"}'}
    )
    assert (created, module.student_id, module.revision) == (True, user.pk, 1)
    module.state = None
    module.save()
    assert {state.username for state in Client().iter_all_for_block(ONE)} == {*NAMES[:2]}
    assert Client().get_scores(NAMES[0], [ONE])[ONE].grade == 5
    assert_history_is_gapless()


def test_the_compatible_model(people: dict[str, Any]) -> None:
    rows, keys = CompatibleStudentModule.objects, {"course_id": COURSE, "module_state_key": ONE}
    for name in NAMES:
        _answer(name, 2)
    ada, ben, cem, _ = people.values()
    row = rows.get(student=ada, **keys)
    # Only integers make numbers.
    assert (row.pk is not None) == has_numbers() == isinstance(id_of(ada), int)
    row.grade, row.state = 5, '{"of":"staff"}'
    row.save()
    assert rows.get(student=ada, **keys).grade == 5
    row, is_new = rows.get_or_create(student=ada, course_id=COURSE, module_state_key=THREE, defaults={"state": "{}"})
    assert is_new
    row.state = '{"of":"new"}'
    row.save()
    assert rows.update_or_create(student=ada, **keys, defaults={"grade": 6, "max_grade": 9})[1] is False
    assert rows.filter(student__in=[ada, ben]).update(done="f") == 5
    assert sorted({found.student.get_username() for found in rows.select_related("student")}) == NAMES
    assert row.delete()[0] == 1
    assert rows.filter(student=ben).delete()[0] == 2
    ImportedModule._base_manager.create(id=7, student_id=id_of(cem), block_id=identify_block(ONE).id, revision=1)
    assert rows.get(pk=7) == rows.get(student=cem, **keys)
    assert rows.exclude(pk=8).count() == 6
    if not has_numbers():
        with pytest.raises(NotSupportedError, match="rows have no numbers here"):
            rows.filter(pk=2**52).exists()
    assert_history_is_gapless()


def test_units_of_several_learners(people: dict[str, Any]) -> None:
    requester, *others = people.values()
    store = store_for(requester)
    with store.unit_of_work(guarded=True):
        for user in others:
            key = KeyValueStore.Key(Scope.user_state, user.pk, ONE, "of")
            store.for_learner(user).set(key, user.get_username())
    assert [Client().get(name, ONE).state for name in NAMES[1:]] == [{"of": name} for name in NAMES[1:]]
    assert {entry.actor_id for entry in StudentModuleHistory.objects.all()} == {requester.pk}
    assert_history_is_gapless()


def test_deletion_for_good(people: dict[str, Any]) -> None:
    for name in NAMES[:3]:
        _answer(name, 2)
    StudentModule.objects.get(student=people[NAMES[0]].pk, block_id=identify_block(ONE).id).delete()
    people[NAMES[1]].delete()
    deletion.delete_learner(people[NAMES[2]].pk)
    assert [found.username for found in Client().iter_all_for_course(COURSE)] == [NAMES[0]]
    assert UserInfo.objects.count() == 0
    assert set(StudentModuleHistory.objects.values_list("student_id", flat=True)) == {people[NAMES[0]].pk}


def _roots() -> list[Any]:
    """Return the user model, and the models of the tables that its rows are in."""
    model = get_user_model()
    return [model, *model._meta.get_parent_list(), model._meta.concrete_model]


@pytest.mark.parametrize("number", range(len(_roots())))
def test_a_user_is_deleted_through_any_of_their_models(people: dict[str, Any], number: int) -> None:
    for name in NAMES[:2]:
        _answer(name, 2)
    _roots()[number]._base_manager.get(pk=people[NAMES[0]].pk).delete()
    assert not get_user_model().objects.filter(pk=people[NAMES[0]].pk).exists()
    assert [found.username for found in Client().iter_all_for_block(ONE)] == [NAMES[1]]
    assert {*StudentModuleHistory.objects.values_list("student_id", flat=True)} == {people[NAMES[1]].pk}


def test_the_runtime_keeps_the_fields_of_a_learner(people: dict[str, Any]) -> None:
    one, two = (people[name] for name in NAMES[:2])
    key = KeyValueStore.Key(Scope.user_state, one.pk, ONE, "answer")
    UserStateKeyValueStore(Client(one), one).set(key, "by one")
    # A grade event has the id as text.
    for learner in (one.pk, str(one.pk)):
        assert UserStateKeyValueStore(Client(one), one).get(key._replace(user_id=learner)) == "by one"
    with pytest.raises(PermissionDenied, match=NAMES[1]):
        UserStateKeyValueStore(Client(two), two).get(key)
    session = SessionStore()
    for staff in (one, two):
        UserStateKeyValueStore(Client(staff), staff, session=session).set(key._replace(user_id=staff.pk), "by staff")
    clear_masquerade(session, two)
    assert UserStateKeyValueStore(Client(one), one, session=session).get(key) == "by staff"
    assert not UserStateKeyValueStore(Client(two), two, session=session).has(key._replace(user_id=two.pk))
    assert Client().get(NAMES[0], ONE).state == {"answer": "by one"}


def test_deletion_of_a_block(people: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion_for_good, "PAGE", 2)
    if "student_module_history" in settings.DATABASES:
        settings.XBLOCK_USER_STATE = {"RECORDED_BLOCK_TYPES": "*", "EXTENDED_HISTORY": True}
    for name in NAMES:
        _answer(name, 2)
    actions.delete_learner(people[NAMES[0]])
    assert actions.delete_block(ONE, actor=people[NAMES[3]], reason="a test") == (3, 0)
    assert {state.username for state in Client().iter_all_for_block(TWO)} == {*NAMES[1:]}
    assert list(Client().iter_all_for_block(ONE)) == []
    for model, alias in stores("default"):
        left = model._base_manager.using(alias).values_list("student_id", "block_id").distinct()
        assert {*left} <= {(people[name].pk, identify_block(TWO).id) for name in NAMES[1:]}
    assert actions.delete_course(COURSE, actor=people[NAMES[3]], reason="a test") == (3, 0)
    assert not any(model._base_manager.using(alias).exists() for model, alias in stores("default"))


def test_a_move_of_a_block(people: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PAGE", 2)
    monkeypatch.setattr(moved_history, "ENTRIES", 3)
    new = make_block("new")
    for extended in (False, True) if "student_module_history" in settings.DATABASES else (False,):
        settings.XBLOCK_USER_STATE = {"RECORDED_BLOCK_TYPES": "*", "EXTENDED_HISTORY": extended}
        for name, user in people.items():
            _answer(name, 2, user)
    Client().set(NAMES[0], new, {"own": 1})
    before = {name: [entry[2:] for entry in Client().get_history(name, ONE)] for name in NAMES}
    actors = {entry.actor_id for entry in StudentModuleHistory.objects.filter(block_id=identify_block(ONE).id)}
    assert actions.move_state(ONE, new, username=NAMES[1], actor=people[NAMES[3]], reason="a test")[:3] == (1, 0, 0)
    result = actions.move_state(ONE, new, actor=people[NAMES[3]], reason="a test")
    assert (result[:3], [left.username for left in result.details]) == ((2, 0, 1), [NAMES[0]])
    after = {name: [entry[2:] for entry in Client().get_history(name, new)] for name in NAMES[1:]}
    assert after == {name: before[name] for name in NAMES[1:]}
    assert [entry[2:] for entry in Client().get_history(NAMES[0], ONE)] == before[NAMES[0]]
    moved_entries = StudentModuleHistory.objects.filter(block_id=identify_block(new).id, actor_id__isnull=False)
    assert {entry.actor_id for entry in moved_entries} == actors - {people[NAMES[0]].pk}
    _run("check_history")


@pytest.mark.parametrize("size", [1, 5, 250])
def test_check_and_sweep(people: dict[str, Any], size: int) -> None:
    for name in NAMES:
        _answer(name)
    rows, entries = 2 * len(NAMES), 3 * CALLS * len(NAMES)
    assert f"{rows} rows with {entries} entries" in _run("check_history", "--batch", str(size)).replace(",", "")
    learner, block_id, revision = StudentModuleHistory.objects.order_by("student_id", "-revision")[0].pk
    StudentModuleHistory.objects.filter(student_id=learner, block_id=block_id, revision=revision).delete()
    faults = [fault for page in Verification("default", size=size).pages() for fault in page.faults]
    assert {owner for owner, _ in faults} == {Owner(learner, block_id)}
    with pytest.raises(CommandError):
        _run("check_history")
    _run("repair_history", "--batch", str(size))
    assert f"{rows} rows with {entries} entries" in _run("check_history", "--batch", str(size)).replace(",", "")
    StudentModule.objects.filter(student_id=learner)._raw_delete("default")
    assert str(learner) in _run("sweep_history", "--dry-run", "--batch", str(size))
    _run("sweep_history", "--batch", str(size))
    assert learner not in set(StudentModuleHistory.objects.values_list("student_id", flat=True))
    _run("check_history", "--batch", str(size))


def test_export(people: dict[str, Any], tmp_path: Path) -> None:
    for name in NAMES[:2]:
        _answer(name, 2, people[name])
    _run("export_history", str(tmp_path / "export"))
    found = list(read_export(tmp_path / "export"))
    assert {(entry["learner"], entry["actor"]) for entry in found} == {(name, name) for name in NAMES[:2]}
    assert len(found) == 12


@pytest.mark.extended_history
@pytest.mark.parametrize("size", [3, 250])
@pytest.mark.parametrize("remove", [False, True])
def test_back_fill_in_pages_and_from_a_checkpoint(
    people: dict[str, Any], tmp_path: Path, size: int, remove: bool
) -> None:
    for name in NAMES:
        _answer(name, 2, people[name])
    before = {name: list(Client().get_history(name, ONE)) for name in NAMES}
    keys = {Key(*row.pk) for row in StudentModuleHistory.objects.all()}
    assert {Key.from_texts(key.texts()) for key in keys} == keys
    options = {"state_file": tmp_path / "position.json", "batch": size, "remove_source": remove}
    _run("backfill_extended_history", **options)
    assert {Key(*row.pk) for row in extended_model()._base_manager.using("student_module_history")} == keys
    assert StudentModuleHistory.objects.count() == (0 if remove else len(keys))
    assert {name: list(Client().get_history(name, ONE)) for name in NAMES} == before
    _run("check_history", "--batch", str(size))


@pytest.mark.extended_history
@pytest.mark.parametrize("ship", ["at_once", "by_relay"])
def test_the_extended_history(people: dict[str, Any], settings: Settings, ship: str) -> None:
    for extended in (False, True):
        settings.XBLOCK_USER_STATE = {
            "RECORDED_BLOCK_TYPES": "*",
            "EXTENDED_HISTORY": extended,
            "SHIP_HISTORY": ship,
        }
        for name in NAMES:
            _answer(name, 2, people[name])
        # In the outbox, the default and the extended history at once.
        for size in ("1", "3", "250"):
            _run("check_history", "--batch", size)
    people[NAMES[0]].delete()
    _run("relay_history", "--batch", "3")
    assert HistoryOutbox.objects.count() == 0
    left = {user.pk for name, user in people.items() if name != NAMES[0]}
    for model, alias in stores("default"):
        found = set(model._base_manager.using(alias).values_list("student_id", flat=True))
        assert found in (left, set())
    _run("sweep_history")
    _run("check_history")

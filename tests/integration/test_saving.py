"""Saving a loaded instance is a change of the client: it writes the differences, and others keep their writes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import DatabaseError, connections, transaction
from django.db.models import F, Value
from django.db.models.signals import post_save, pre_save
from pytest_django import Settings
from xblock.fields import Scope

from tests.factories import make_block, make_learners
from tests.integration.measuring import measured as measured  # noqa: PLC0414 (a fixture)
from tests.integration.rows import assert_history_is_gapless, everything, rows_of
from tests.integration.statements import captured, verbs
from tests.sinks import Measurements
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.interface import BlockScore, DamagedHistory
from xblock_user_state.models import Preferences, StudentModule, StudentModuleHistory, UserInfo, UserStateSummary

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()
TWO = pytest.mark.extended_history
SITES: dict[str, dict[str, object]] = {
    "default": {},
    "plain": {"HISTORY_ENCODING": "plain"},
    "extended": {"EXTENDED_HISTORY": True},
    "outbox": {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"},
}
OTHER_SCOPES = [
    pytest.param(Preferences, "problem", Scope.preferences, id="preferences"),
    pytest.param(UserInfo, None, Scope.user_info, id="user_info"),
    pytest.param(UserStateSummary, BLOCK, Scope.user_state_summary, id="user_state_summary"),
]


@pytest.fixture(autouse=True)
def ann() -> Any:
    return make_learners("ann")[0]


@pytest.fixture(params=[pytest.param(name, marks=TWO if name in ("extended", "outbox") else ()) for name in SITES])
def site(request: pytest.FixtureRequest, settings: Settings) -> None:
    """Keep the history in one store and one encoding."""
    settings.XBLOCK_USER_STATE = SITES[request.param]


def check_history() -> None:
    """Check the history in every store: a fault is an error."""
    call_command("check_history", stdout=StringIO())


def begin(**fields: Any) -> StudentModule:
    """Write a state, and load its row."""
    Client().set("ann", BLOCK, fields)
    return StudentModule.objects.get()


def state() -> Any:
    return Client().get("ann", BLOCK).state


def assert_is_as_stored(module: Any) -> None:
    stored = module.column_values()
    assert [stored] == [row for row in rows_of(type(module)) if row == stored]


# As public code does it: edx-sga's grades, instructors' scripts.


@pytest.mark.usefixtures("site")
def test_a_stale_save_takes_nothing_back() -> None:
    module = begin(a=1)
    Client().set("ann", BLOCK, {"a": 2, "b": [1]})
    Client().set_score("ann", BLOCK, 3, 4)
    module.done = "f"
    module.save()
    assert state() == {"a": 2, "b": [1]}
    assert Client().get_scores("ann", [BLOCK])[BLOCK].grade == 3
    assert StudentModule.objects.get().done == "f"
    Client().set("ann", BLOCK, {"a": 3})
    assert StudentModule.objects.get().revision == 4
    check_history()


@pytest.mark.usefixtures("site")
def test_a_script_that_resets_attempts_leaves_history_whole() -> None:
    for number in range(3):
        Client().set("ann", BLOCK, {"attempts": number + 1, "answer": "word " * 20 + str(number)})
    for module in StudentModule.objects.filter(student__username="ann").select_related("student", "block__context"):
        problem = json.loads(module.state or "{}")
        problem["attempts"] = 0
        module.state = json.dumps(problem)
        module.save()
    for number in range(40):
        Client().set("ann", BLOCK, {"attempts": number + 1})
    history = list(Client().get_history("ann", BLOCK))
    assert [entry.revision for entry in history] == [*range(44, 0, -1)]
    assert [(entry.state or {})["attempts"] for entry in history] == [*range(40, 0, -1), 0, 3, 2, 1]
    check_history()


@pytest.mark.usefixtures("site")
def test_grading_is_one_change_with_one_entry() -> None:
    module = begin(answer="x", points=0)
    module.state = json.dumps({"answer": "x", "points": 3})
    module.grade, module.max_grade = 3, 4
    module.save()
    assert StudentModule.objects.get().revision == 2
    newest, _ = Client().get_history("ann", BLOCK)
    assert newest.state == {"answer": "x", "points": 3}
    assert newest.score == BlockScore(3.0, 4.0, newest.updated)
    assert_is_as_stored(module)
    check_history()


def test_a_save_has_no_actor(ann: Any) -> None:
    Client(ann).set("ann", BLOCK, {"a": 1})
    module = StudentModule.objects.get()
    module.grade, module.max_grade = 1, 2
    module.save()
    assert list(StudentModuleHistory.objects.order_by("revision").values_list("actor_id", flat=True)) == [ann.pk, None]


def test_fields_are_set_removed_and_left_alone() -> None:
    module = begin(same=1, changed=1, removed=1, removed_and_set=1)
    Client().set("ann", BLOCK, {"same": 2, "learners": 1, "removed_and_set": 2})
    module.state = '{"same": 1, "changed": 2, "added": {"b": 1, "a": "é"}}'
    module.save()
    assert state() == {"same": 2, "changed": 2, "learners": 1, "added": {"b": 1, "a": "é"}}
    assert_is_as_stored(module)
    assert module.state == '{"same":2,"changed":2,"learners":1,"added":{"b":1,"a":"\\u00e9"}}'
    assert_history_is_gapless()


@pytest.mark.parametrize("value", [1.0, True, "1", None, [1], 2**70])
def test_values_of_other_types_differ(value: Any) -> None:
    module = begin(a=1)
    module.state = json.dumps({"a": value})
    module.save()
    assert repr(state()) == repr({"a": value})
    assert module.revision == 2


@pytest.mark.parametrize("text", ['{"a": 1, "b": [1, {"c": "é"}]}', '{"b":[1,{"c":"\\u00e9"}],"a":1}'])
def test_another_spelling_is_no_change(text: str) -> None:
    module = begin(a=1, b=[1, {"c": "é"}])
    before = everything()
    module.state = text
    with captured() as statements:
        module.save()
    assert statements == []
    assert everything() == before


@pytest.mark.parametrize("text", [None, "{}", " { } "])
def test_all_fields_can_be_removed(text: str | None) -> None:
    module = begin(a=1)
    module.state = text
    module.save()
    assert module.state == StudentModule.objects.get().state == "{}"
    assert module.revision == 2
    module.state = text
    module.save()
    assert StudentModule.objects.get().revision == 2
    assert_history_is_gapless()


def test_an_instance_can_be_saved_again_and_again() -> None:
    module = begin(a=1)
    for number in range(2, 5):
        module.state = json.dumps({"a": number})
        module.save()
        assert module.revision == number
        assert_is_as_stored(module)
    Client().set("ann", BLOCK, {"b": 1})
    module.save()
    module.state = json.dumps({"a": 9})
    module.save()
    assert state() == {"a": 9, "b": 1}
    assert_history_is_gapless()


def test_a_save_without_a_change_sends_no_statement() -> None:
    module = begin(a=1)
    with captured() as statements:
        module.save()
        module.save(update_fields=["state", "grade", "done", "modified"])
    assert statements == []


def test_values_that_another_has_written_already() -> None:
    module = begin(a=1)
    Client().set("ann", BLOCK, {"a": 2, "b": 1})
    module.state = json.dumps({"a": 2})
    module.save()
    assert_is_as_stored(module)
    assert module.revision == 2
    assert state() == {"a": 2, "b": 1}


def test_only_the_named_fields_are_saved() -> None:
    module = begin(a=1)
    Client().set_score("ann", BLOCK, 1, 10)
    module.refresh_from_db()
    Client().set_score("ann", BLOCK, 2, 20)
    module.state, module.grade, module.max_grade, module.done = '{"a":2}', 3, 30, "f"
    module.save(update_fields=["grade"])
    stored = StudentModule.objects.get()
    assert (stored.state, stored.grade, stored.max_grade, stored.done) == ('{"a":1}', 3, 20, "na")
    assert (module.state, module.grade, module.max_grade, module.done) == ('{"a":2}', 3, 30, "f")
    module.save(update_fields=[])
    assert StudentModule.objects.get().revision == stored.revision
    module.save()
    assert_is_as_stored(module)
    stored = StudentModule.objects.get()
    assert (stored.state, stored.grade, stored.max_grade, stored.done) == ('{"a":2}', 3, 30, "f")
    assert_history_is_gapless()


def test_points_take_their_maximum_along() -> None:
    module = begin(a=1)
    module.grade, module.max_grade = 1, 2
    module.save()
    Client().set_score("ann", BLOCK, 5, 10)
    module.grade = 2
    module.save()
    assert (module.grade, module.max_grade) == (2, 2)
    assert_is_as_stored(module)
    module.grade = None
    module.save()
    assert Client().get_scores("ann", [BLOCK]) == {}
    assert_is_as_stored(module)
    module.max_grade = 7
    module.save()
    assert Client().get_scores("ann", [BLOCK])[BLOCK][:2] == (None, 7)
    assert_is_as_stored(module)
    module.max_grade = None
    module.save()
    assert Client().get_scores("ann", [BLOCK]) == {}
    assert_is_as_stored(module)
    assert_history_is_gapless()


@pytest.mark.parametrize(
    ("column", "value", "error", "message"),
    [
        ("state", "no JSON", ValueError, "is not JSON"),
        ("state", "[1]", ValueError, "must be a JSON object of fields"),
        ("state", "1", ValueError, "must be a JSON object of fields"),
        ("state", "", ValueError, "is not JSON"),
        ("state", {"a": 1}, TypeError, "must be a JSON text, not a dict; use json.dumps"),
        ("state", b"{}", TypeError, "must be a JSON text, not a bytes"),
        ("state", "[" * 100_000, ValueError, "is not JSON"),
        ("state", Value("{}"), TypeError, "not an expression for SQL"),
        ("grade", F("grade") + 1, TypeError, "give the value, not an expression for SQL"),
        ("grade", "much", TypeError, "grade must be a number"),
        ("grade", float("nan"), ValueError, "grade must be a finite number"),
        ("done", F("done"), TypeError, "not an expression for SQL"),
        ("revision", 1, ValueError, "revision of StudentModule .* only the write path sets it"),
        ("revision", None, ValueError, "only the write path sets it"),
        ("created", None, ValueError, "only the write path sets it"),
        ("modified", None, ValueError, "only the write path sets it"),
        ("history_chain", 7, ValueError, "only the write path sets it"),
        ("block_id", 5, ValueError, "was loaded under another key"),
        ("student_id", None, ValueError, "can't be saved without student_id and block_id"),
    ],
)
def test_bad_values_raise_before_any_statement(
    ann: Any, column: str, value: Any, error: type[Exception], message: str
) -> None:
    Client().set("ann", BLOCK, {"a": 0})
    module = begin(a=1)
    before = everything()
    setattr(module, column, value)
    with captured() as statements, pytest.raises(error, match=message):
        module.save()
    assert statements == []
    # A caller's transaction goes on.
    with transaction.atomic():
        with pytest.raises(error, match=message):
            module.save()
        assert everything() == before
    assert everything() == before


def test_done_is_kept_without_a_revision() -> None:
    module = begin(a=1)
    module.done = "i"
    with captured() as statements:
        module.save()
    assert verbs(statements)[-2 if verbs(statements)[-1] == "COMMIT" else -1] == "UPDATE"
    assert_is_as_stored(module)
    assert (module.done, module.revision) == ("i", 1)
    module.done, module.state = "f", '{"a":2}'
    module.save()
    assert_is_as_stored(module)
    assert (StudentModule.objects.get().done, state()) == ("f", {"a": 2})
    assert_history_is_gapless()


def test_a_row_that_was_deleted_stays_deleted() -> None:
    module, finished = begin(a=1), StudentModule.objects.get()
    StudentModule.objects.all().delete()
    module.state, finished.done = '{"a":2}', "f"
    for instance in (module, finished):
        with pytest.raises(DatabaseError, match="was deleted; nothing was written"):
            instance.save()
    assert not StudentModule.objects.exists()
    # Another row of the same key is no place for values of the old one.
    Client().set("ann", BLOCK, {"new": 1})
    with pytest.raises(DatabaseError, match="was deleted; nothing was written"):
        module.save()
    assert state() == {"new": 1}
    assert_history_is_gapless()


def test_a_row_that_is_no_json_can_be_mended() -> None:
    begin(a=1)
    StudentModule._base_manager.update(state="damaged by SQL")
    module = StudentModule.objects.get()
    module.grade, module.max_grade = 1, 2
    module.state = '{"a":3}'
    module.save()
    assert state() == {"a": 3}


def test_a_locked_row_in_a_callers_transaction() -> None:
    key = begin(a=1).pk
    with transaction.atomic():
        module = StudentModule.objects.select_for_update().get(pk=key)
        module.state = '{"a":2}'
        module.save()
        assert_is_as_stored(module)
        module.state = '{"a":1}'
        module.save()
    assert module.revision == 3
    assert_is_as_stored(module)
    assert_history_is_gapless()


def test_saving_in_a_coroutine() -> None:
    async def grade() -> None:
        module = await StudentModule.objects.aget()
        module.grade, module.max_grade = 1, 2
        await module.asave()

    begin(a=1)
    async_to_sync(grade)()
    assert Client().get_scores("ann", [BLOCK])[BLOCK].grade == 1
    assert_history_is_gapless()


def test_another_database_is_refused() -> None:
    module = begin(a=1)
    module.state = '{"a":2}'
    with pytest.raises(ValueError, match="can't be saved in the database 'elsewhere', because learner state is in"):
        module.save(using="elsewhere")
    assert state() == {"a": 1}


def test_signals_are_sent() -> None:
    seen: list[tuple[str, Any, Any, Any]] = []

    def before(instance: StudentModule, raw: bool, **_: Any) -> None:
        seen.append(("pre", instance.revision, raw, None))
        if instance.state == '{"a":2}':
            instance.state = '{"a":3}'

    def after(instance: StudentModule, created: bool, raw: bool, **_: Any) -> None:
        seen.append(("post", instance.revision, raw, created))

    module = begin(a=1)
    pre_save.connect(before, sender=StudentModule)
    post_save.connect(after, sender=StudentModule)
    try:
        module.state = '{"a":2}'
        module.save()
        module.save()
        StudentModule.objects.create(student=module.student, block_id=register("other"), state="{}")
    finally:
        assert pre_save.disconnect(before, sender=StudentModule)
        assert post_save.disconnect(after, sender=StudentModule)
    assert seen == [
        ("pre", 1, False, None),
        ("post", 2, False, False),
        ("pre", 2, False, None),
        ("post", 2, False, False),
        ("pre", None, False, None),
        ("post", 1, False, True),
    ]
    assert state() == {"a": 3}


def register(name: str) -> int:
    """Register a block; return its id."""
    Client().set(None, make_block(name), {"a": 1}, Scope.user_state_summary)
    return UserStateSummary.objects.get(block__usage_key=str(make_block(name))).block_id


@pytest.mark.parametrize(("model", "key", "scope"), OTHER_SCOPES)
def test_the_other_scopes(model: Any, key: Any, scope: Scope) -> None:
    Client().set("ann", key, {"a": 1, "b": 1}, scope)
    row = model.objects.get()
    Client().set("ann", key, {"learners": 1}, scope)
    row.state = '{"a": 2}'
    row.save()
    assert Client().get("ann", key, scope).state == {"a": 2, "learners": 1}
    assert row.revision == 3
    assert_is_as_stored(row)
    row.revision = 1
    with pytest.raises(ValueError, match="only the write path sets it"):
        row.save()
    model.objects.all().delete()
    again = model(**{name: value for name, value in row.column_values().items() if name.endswith(("_id", "_type"))})
    again.state = '{"new": 1}'
    again.save()
    assert again.revision == 1
    assert Client().get("ann", key, scope).state == {"new": 1}


def test_a_save_is_measured(measured: Measurements) -> None:
    module = begin(a=1)
    measured.clear()
    module.state = '{"a":22}'
    module.save()
    assert measured.values("save.blks_updated") == [1]
    assert len(measured.values("save.response_time")) == 1
    assert measured.values("write.state_bytes", operation="save", scope="user_state") == [len('{"a":22}')]


def test_instances_and_clients_write_side_by_side() -> None:
    begin(a=1)
    rounds = 15

    def by_client(name: str) -> None:
        for number in range(rounds):
            Client().set("ann", BLOCK, {name: number})
        connections.close_all()

    def by_instance(name: str) -> None:
        for number in range(rounds):
            module = StudentModule.objects.get()
            module.state = json.dumps({**json.loads(module.state or ""), name: number})
            module.save()
        connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(write, f"{write.__name__}{n}") for n in range(2) for write in (by_client, by_instance)]
    for each in work:
        each.result()
    last = rounds - 1
    assert state() == {"a": 1, "by_client0": last, "by_client1": last, "by_instance0": last, "by_instance1": last}
    assert StudentModule.objects.get().revision == 1 + 4 * rounds
    assert_history_is_gapless()
    assert not any(isinstance(entry.state, DamagedHistory) for entry in Client().get_history("ann", BLOCK))

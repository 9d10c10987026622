"""Deletion of a block or a course for good: all learners' rows go, page by page, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, connections, models, transaction
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.keys import CourseKey
from opaque_keys.edx.locator import CourseLocator
from pytest_django import Settings
from xblock.fields import Scope

from tests import citus
from tests.factories import BY, COURSE, make_block, make_blocks, make_learners
from tests.integration.histories import revisions
from tests.integration.interference import just_after, just_before, on_another_connection
from tests.integration.outage import Outage
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from tests.integration.statements import captured, verbs
from tests.policies import Asked, refuse
from tests.relaying import ship_all
from xblock_user_state.actions import Deleted, delete_block, delete_course, delete_learner
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import TOMBSTONE, extended_model, stores
from xblock_user_state.interface import BlockKeyCollision, DoesNotExist, PermissionDenied
from xblock_user_state.maintenance import deletion
from xblock_user_state.models import (
    Block,
    HistoryOutbox,
    LoggedAction,
    Preferences,
    StudentModule,
    StudentModuleHistory,
    UserInfo,
    UserStateSummary,
)
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

SITES: dict[str, dict[str, Any]] = {
    "default": {},
    "at once": {"EXTENDED_HISTORY": True},
    "by relay": {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"},
}
NAMES = ["ann", "bob", "cid", "dan", "eve"]
OTHER_COURSE = CourseLocator("Zoo", "Z1", "2026")
FIRST, SECOND, _ = BLOCKS = make_blocks(3)
ELSEWHERE = make_block(course=OTHER_COURSE)
ASIDE = AsideUsageKeyV2(FIRST, "notes")
ALL_BLOCKS = [*BLOCKS, ASIDE, ELSEWHERE]

needs_row_locks = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.extended_history if SITES[name] else ()) for name in SITES]
)
def site(request: pytest.FixtureRequest, settings: Settings) -> str:
    """Name of a site that keeps its history in one of the stores."""
    settings.XBLOCK_USER_STATE = SITES[request.param]
    return str(request.param)


@pytest.fixture
def pages_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "PAGE", 2)


@pytest.fixture
def learners(site: str) -> list[User]:
    """Five learners with state, scores and history in two courses, in an aside and in the other scopes."""
    made = make_learners(*NAMES)
    for name in NAMES:
        write_everything(name)
    return made


def write_everything(name: str) -> None:
    client = DjangoXBlockUserStateClient()
    for value in (1, 2):
        client.set_many(name, {key: {"who": name, "value": value} for key in ALL_BLOCKS})
    client.set_score(name, FIRST, 1, 2)
    client.set(name, "problem", {"who": name}, Scope.preferences)
    client.set(name, None, {"who": name}, Scope.user_info)
    client.set_many(name, {key: {"who": name} for key in ALL_BLOCKS}, Scope.user_state_summary)


Rows = dict[str, list[tuple[Any, ...]]]


def stored() -> Rows:
    """Return the keys of all rows in all stores, by the name of the model, and the rows of the registry."""
    found: Rows = {}
    for model, alias in stores("default"):
        found[model.__name__] = keys_of(model, alias, "student_id", "block_id", "revision")
    found["StudentModule"] = keys_of(StudentModule, "default", "student_id", "block_id", "revision")
    found["UserStateSummary"] = keys_of(UserStateSummary, "default", "block_id", "revision")
    found["Preferences"] = keys_of(Preferences, "default", "student_id", "block_type", "revision")
    found["UserInfo"] = keys_of(UserInfo, "default", "student_id", "revision")
    found["Block"] = keys_of(Block, "default", "id", "usage_key")
    return found


def keys_of(model: type[models.Model], alias: str, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(model._base_manager.using(alias).values_list(*columns))


def without_blocks(rows: Rows, *keys: Any) -> Rows:
    """Return `rows` without the rows of these blocks; the registry keeps them."""
    gone = {identify_block(key).id for key in keys}
    return {
        name: of_model if name == "Block" else [row for row in of_model if not gone & {*row}]
        for name, of_model in rows.items()
    }


def ship(site: str) -> None:
    if SITES[site]:
        ship_all()


def id_of(key: Any) -> int:
    return identify_block(key).id


@contextmanager
def failing_at(number: int, model: type[models.Model]) -> Iterator[None]:
    """Raise at the statement of this number that deletes rows of `model`."""
    table, seen = connection.ops.quote_name(model._meta.db_table), 0

    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal seen
        seen += sql.startswith("DELETE") and table in sql
        if seen == number:
            raise RuntimeError("the process was killed")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        yield


@pytest.mark.usefixtures("pages_of_two")
def test_a_block_is_deleted_for_all_learners_and_nothing_else(learners: list[User], site: str) -> None:
    ship(site)
    before = stored()
    assert delete_block(FIRST, **BY) == Deleted(states=5, shared=1)
    ship(site)
    assert stored() == without_blocks(before, FIRST)


@pytest.mark.usefixtures("pages_of_two")
def test_a_course_is_deleted_with_its_asides_and_nothing_else(learners: list[User], site: str) -> None:
    ship(site)
    before = stored()
    assert delete_course(COURSE, **BY) == Deleted(states=20, shared=4)
    ship(site)
    assert stored() == without_blocks(before, *BLOCKS, ASIDE)
    assert len(before["StudentModule"]) == 25
    assert len(stored()["StudentModule"]) == 5


def test_entries_that_were_not_shipped_go_too(learners: list[User], site: str) -> None:
    before = stored()
    delete_block(FIRST, **BY)
    client = DjangoXBlockUserStateClient()
    with pytest.raises(DoesNotExist):
        next(client.get_history("ann", FIRST))
    assert client.get_scores("ann", [FIRST]) == {}
    assert len(list(client.get_history("ann", SECOND))) == 2
    ship(site)
    expected = without_blocks(before, FIRST)
    if site == "by relay":
        expected["StudentModuleHistoryExtended"] = expected["HistoryOutbox"]
        expected["HistoryOutbox"] = []
    assert stored() == expected


@pytest.mark.extended_history
def test_history_of_all_stores_goes(settings: Settings) -> None:
    make_learners("ann", "bob")
    client = DjangoXBlockUserStateClient()
    for flags in SITES.values():
        settings.XBLOCK_USER_STATE = {**flags, "READ_MULTIPLE_HISTORIES": True}
        for name in ("ann", "bob"):
            client.set_many(name, {key: {"at": str(flags)} for key in (FIRST, SECOND)})
    assert {*revisions()} == {"StudentModuleHistory", "HistoryOutbox", "StudentModuleHistoryExtended"}
    before = stored()
    delete_block(FIRST, **BY)
    tombstones = HistoryOutbox.objects.filter(revision=TOMBSTONE)
    assert {*tombstones.values_list("block_id", flat=True)} == {id_of(FIRST)}
    assert tombstones.count() == 2
    assert list(client.get_many("ann", [FIRST])) == []
    with pytest.raises(DoesNotExist):
        next(client.get_history("ann", FIRST))
    ship_all()
    rest = without_blocks(before, FIRST)
    assert stored()["StudentModuleHistory"] == rest["StudentModuleHistory"]
    assert stored()["HistoryOutbox"] == []
    moved = sorted(rest["HistoryOutbox"] + rest["StudentModuleHistoryExtended"])
    assert stored()["StudentModuleHistoryExtended"] == moved


@pytest.mark.extended_history
def test_a_block_is_deleted_while_the_history_database_is_down(settings: Settings, outage: Outage) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True}
    make_learners("ann", "bob")
    client = DjangoXBlockUserStateClient()
    for name in ("ann", "bob"):
        client.set_many(name, {key: {"a": 1} for key in (FIRST, SECOND)})
    before = stored()
    with outage.lasts():
        assert delete_block(FIRST, **BY) == Deleted(states=2, shared=0)
        assert HistoryOutbox.objects.count() == 2
    with pytest.raises(DoesNotExist):
        next(client.get_history("ann", FIRST))
    ship_all()
    assert stored() == without_blocks(before, FIRST)


def test_a_deleted_block_begins_anew(learners: list[User], site: str) -> None:
    delete_block(FIRST, **BY)
    client = DjangoXBlockUserStateClient()
    client.set("ann", FIRST, {"life": 2})
    ship(site)
    assert StudentModule.objects.get(block_id=id_of(FIRST)).revision == 1
    assert [entry.state for entry in client.get_history("ann", FIRST)] == [{"life": 2}]


def test_deleting_again_deletes_nothing(learners: list[User], site: str) -> None:
    delete_block(FIRST, **BY)
    delete_course(OTHER_COURSE, **BY)
    ship(site)
    before = stored()
    assert delete_block(FIRST, **BY) == delete_course(OTHER_COURSE, **BY) == Deleted(0, 0)
    ship(site)
    assert stored() == before


def test_a_block_or_course_without_state_is_no_error(learners: list[User]) -> None:
    before = stored()
    assert delete_block(make_block("unknown"), **BY) == Deleted(0, 0)
    assert delete_course(CourseKey.from_string("course-v1:No+No+No"), **BY) == Deleted(0, 0)
    assert stored() == before


@pytest.mark.usefixtures("pages_of_two")
def test_an_interrupted_deletion_keeps_whole_rows_and_goes_on(learners: list[User], site: str) -> None:
    ship(site)
    before = stored()
    # Each page deletes state rows, and then their entries.
    with failing_at(3, StudentModuleHistory), pytest.raises(RuntimeError, match="killed"):
        delete_course(COURSE, **BY)
    ship(site)
    left = stored()
    assert len(left["StudentModule"]) == 25 - 4
    first_block = min(id_of(key) for key in (*BLOCKS, ASIDE))
    gone = {(learner.pk, first_block) for learner in learners[:4]}
    for name in ("StudentModule", "StudentModuleHistory", "StudentModuleHistoryExtended"):
        assert left.get(name) == (before.get(name) and [row for row in before[name] if row[:2] not in gone])
    assert left["UserStateSummary"] == before["UserStateSummary"]
    assert delete_course(COURSE, **BY) == Deleted(states=16, shared=4)
    ship(site)
    assert stored() == without_blocks(before, *BLOCKS, ASIDE)


def test_a_deletion_in_a_transaction_is_rolled_back_with_it(learners: list[User], site: str) -> None:
    before = stored()
    with transaction.atomic():
        assert delete_block(FIRST, **BY).states == 5
        transaction.set_rollback(True)
    assert stored() == before


# Of a page with rows, in the state's database; the UPDATE buries what an archive has. SQLite takes its write lock by a
# DELETE.
DELETES = ["DELETE"] * 3 + ["UPDATE"]
PAGE_STATEMENTS = {
    # A history database that is not written to now may have entries of before.
    "default": ["SELECT", *DELETES, *(["INSERT"] if "student_module_history" in connections else [])],
    "at once": ["SELECT", *DELETES, "INSERT"],
    "by relay": ["SELECT", *DELETES, "INSERT"],
}


@pytest.mark.parametrize("count", [1, 80])
def test_a_page_has_as_many_statements_whatever_its_rows(site: str, settings: Settings, count: int) -> None:
    names = [f"learner{number}" for number in range(count)]
    make_learners(*names)
    for name in names:
        DjangoXBlockUserStateClient().set(name, FIRST, {"a": 1})
        DjangoXBlockUserStateClient().set(name, FIRST, {"a": 2})
    ship(site)
    # Shipping has statements of its own.
    settings.XBLOCK_USER_STATE = {**SITES[site], "SHIP_HISTORY": "by_relay"}
    with captured() as statements:
        page = next(deletion.delete_blocks("default", [id_of(FIRST)]))
    assert page == Deleted(count, 0)
    # Citus locks rows of one learner in a statement.
    lock = {"sqlite": ["DELETE"], "citus": ["SELECT"] * count}.get(citus.DIALECT, [])
    assert verbs(statements) == ["BEGIN", *lock, *PAGE_STATEMENTS[site], "COMMIT"]
    assert not any("state" in text.split("FROM")[0].replace("xblock_user_state", "") for text in statements)


@pytest.mark.extended_history
@pytest.mark.parametrize("ships", ["at_once", "by_relay"])
def test_shipping_deletes_a_blocks_history_by_one_statement(settings: Settings, ships: str) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": ships}
    for name in [user.username for user in make_learners(*NAMES)]:
        DjangoXBlockUserStateClient().set_many(name, {key: {"a": 1} for key in (FIRST, SECOND)})
    ship_all()
    model, alias = extended_model(), "student_module_history"
    with just_before("DELETE", model, lambda: None, alias) as seen:
        delete_block(FIRST, **BY)
        ship_all()
    assert len(seen) == 1
    assert {*model._base_manager.using(alias).values_list("block_id", flat=True)} == {id_of(SECOND)}


@needs_row_locks
@pytest.mark.usefixtures("pages_of_two")
@pytest.mark.parametrize("moment", ["before the lock", "after the lock"])
def test_a_row_that_is_begun_meanwhile_goes_whole_or_stays_whole(learners: list[User], site: str, moment: str) -> None:
    """Another learner begins the block before or after the first page locks its rows."""
    make_learners("fay")
    client = DjangoXBlockUserStateClient()
    when = just_before if moment == "before the lock" else just_after
    with when("SELECT", StudentModule, lambda: on_another_connection(lambda: client.set("fay", FIRST, {"new": 1}))):
        delete_block(FIRST, **BY)
    ship(site)
    rows = {row[:2]: row[2] for row in stored()["StudentModule"] if row[1] == id_of(FIRST)}
    entries: dict[Any, list[int]] = {}
    for name in ("HistoryOutbox", "StudentModuleHistory", "StudentModuleHistoryExtended"):
        for *owner, revision in stored().get(name, []):
            if owner[1] == id_of(FIRST):
                entries.setdefault(tuple(owner), []).append(revision)
    assert entries == {owner: [1] for owner in rows}
    assert [*rows.values()] in ([], [1])


@needs_row_locks
def test_a_writer_of_a_locked_row_waits_and_begins_anew(learners: list[User], site: str) -> None:
    client = DjangoXBlockUserStateClient()

    def write() -> None:
        try:
            client.set("ann", FIRST, {"life": 2})
        finally:
            connections.close_all()

    writer = Thread(target=write)

    def begin_to_write() -> None:
        writer.start()
        writer.join(0.5)
        assert writer.is_alive(), "the writer did not wait for the page"

    with just_after("LOCK", StudentModule, begin_to_write):
        assert delete_block(FIRST, **BY).states == 5
    writer.join(30)
    ship(site)
    assert StudentModule.objects.get(block_id=id_of(FIRST)).revision == 1
    assert [entry.state for entry in client.get_history("ann", FIRST)] == [{"life": 2}]


def test_a_block_with_the_id_of_another_is_not_deleted(learners: list[User]) -> None:
    Block.objects.filter(pk=id_of(FIRST)).update(usage_key="block-v1:A+B+C+type@problem+block@collision")
    before = stored()
    with pytest.raises(BlockKeyCollision):
        delete_block(FIRST, **BY)
    assert stored() == before


@pytest.mark.parametrize("key", ["block-v1:A+B+C+type@problem+block@x", None, COURSE])
def test_a_block_is_named_by_its_key(key: Any) -> None:
    with pytest.raises(TypeError, match="block_key must be a UsageKey"):
        delete_block(key, **BY)


@pytest.mark.parametrize("key", ["course-v1:A+B+C", None, FIRST])
def test_a_course_is_named_by_its_key(key: Any) -> None:
    with pytest.raises(TypeError, match="course_key must be"):
        delete_course(key, **BY)


@pytest.mark.parametrize("named_by", [lambda user: user, lambda user: user.pk], ids=["user", "id"])
def test_a_learner_is_deleted_by_user_or_id(learners: list[User], site: str, named_by: Any) -> None:
    ship(site)
    before = stored()
    states = StudentModule.objects.filter(student=learners[0]).count()
    assert delete_learner(named_by(learners[0])) == Deleted(states, 0)
    ship(site)
    of_learner = ("StudentModule", "StudentModuleHistory", "StudentModuleHistoryExtended", "Preferences", "UserInfo")
    expected = {
        name: [row for row in rows if name not in of_learner or row[0] != learners[0].pk]
        for name, rows in before.items()
    }
    assert stored() == expected
    assert User.objects.filter(pk=learners[0].pk).exists()


def test_a_user_without_an_id_is_refused() -> None:
    for user in (AnonymousUser(), User(username="unsaved"), None):
        with pytest.raises(ValueError, match="has no id"):
            delete_learner(user)


def test_a_learner_is_not_named_by_a_username(learners: list[User]) -> None:
    """A username may be the text of another user's id."""
    before = stored()
    for name in (learners[0].username, str(learners[0].pk), True, 1.5):
        with pytest.raises(TypeError, match="user must be a user, or an id as User has it"):
            delete_learner(name)
    assert stored() == before


def test_the_history_of_a_row_that_sql_deleted_stays_for_the_sweep(learners: list[User], site: str) -> None:
    ship(site)
    rows = StudentModule.objects.filter(student=learners[0], block_id=id_of(FIRST))
    rows._raw_delete("default")
    assert delete_block(FIRST, **BY).states == 4
    ship(site)
    model = extended_model() if SITES[site] else StudentModuleHistory
    alias = "student_module_history" if SITES[site] else "default"
    entries = model._base_manager.using(alias).filter(block_id=id_of(FIRST))
    assert {*entries.values_list("student_id", flat=True)} == {learners[0].pk}


def test_a_deletion_of_all_learners_is_in_the_log(learners: list[User]) -> None:
    delete_block(FIRST, **BY)
    delete_course(OTHER_COURSE, **BY)
    rows: Any = LoggedAction.objects.order_by("created")
    assert list(rows.values_list("act", "student_id", "block__usage_key", "context__key")) == [
        ("delete_block", None, str(FIRST), str(COURSE)),
        ("delete_course", None, None, str(OTHER_COURSE)),
    ]


def test_a_policy_is_asked_to_erase(learners: list[User]) -> None:
    policy = Asked(refuse)
    refused = pytest.raises(PermissionDenied, match="'ada' may not erase the state of all learners")
    with captured() as seen:
        with refused:
            delete_block(FIRST, policy=policy, **BY)
        with refused:
            delete_course(COURSE, policy=policy, **BY)
    assert len(seen) == 0
    assert [question[1:] for question in policy.questions] == [
        ("erase", None, COURSE, FIRST),
        ("erase", None, COURSE, None),
    ]
    assert not LoggedAction.objects.exists()

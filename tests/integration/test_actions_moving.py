"""Moves of state to other keys: each learner's row and history move together, unchanged, and nothing else does."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction
from django.test import override_settings
from opaque_keys.edx.asides import AsideUsageKeyV1, AsideUsageKeyV2
from opaque_keys.edx.keys import CourseKey, LearningContextKey, UsageKey
from opaque_keys.edx.locator import CourseLocator
from pytest_django import Settings
from xblock.fields import Scope

from tests import citus
from tests.factories import BY, COURSE, make_block, make_blocks, make_learners
from tests.integration import histories
from tests.integration.histories import ESSAY, add_entries_to_every_store
from tests.integration.interference import refusing
from tests.integration.outage import Outage
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from tests.integration.statements import captured, verbs
from tests.policies import Asked, refuse
from tests.relaying import ship_all
from xblock_user_state.actions import Moved, Skipped, move_state
from xblock_user_state.actions import moving as action
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import COLUMNS, TOMBSTONE, extended_model, stores
from xblock_user_state.interface import (
    BlockKeyCollision,
    Conflict,
    DoesNotExist,
    PermissionDenied,
    ServiceUnavailable,
    UserDoesNotExist,
)
from xblock_user_state.maintenance import moved_history, moving
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.maintenance.moving import HAS_HISTORY, HAS_STATE
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
from xblock_user_state.state.moves import Move

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

SITES: dict[str, dict[str, Any]] = {
    "default": {},
    "at once": {"EXTENDED_HISTORY": True},
    "by relay": {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"},
}
NAMES = ["ann", "bob", "cid", "dan", "eve"]
NEW_RUN = CourseLocator("Astro", "A101", "2027")
FIRST, SECOND, THIRD = BLOCKS = make_blocks(3)
ELSEWHERE = make_block(course=CourseLocator("Zoo", "Z1", "2026"))
ASIDES = [AsideUsageKeyV1(FIRST, "notes"), AsideUsageKeyV2(FIRST, "notes")]
ALL_BLOCKS = [*BLOCKS, *ASIDES, ELSEWHERE]
TARGET = make_block("moved")
FILM, OTHER_FILM = make_blocks(2, "video")


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.extended_history if SITES[name] else ()) for name in SITES]
)
def site(request: pytest.FixtureRequest, settings: Settings) -> str:
    """Name of a site that keeps its history in one of the stores."""
    settings.XBLOCK_USER_STATE = SITES[request.param]
    return str(request.param)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PAGE", 2)
    monkeypatch.setattr(moved_history, "ENTRIES", 2)


@pytest.fixture
def learners(site: str) -> list[User]:
    """Five learners, some staff among the actors, with many kinds of histories in two courses and in asides."""
    made = make_learners(*NAMES)
    choice = random.Random(33920)
    for number, name in enumerate(NAMES):
        client = DjangoXBlockUserStateClient(made[(number + 1) % len(made)])
        for key in (*ALL_BLOCKS, FILM):
            write_at_random(client, name, key, choice)
        client.set(name, "problem", {"who": name}, Scope.preferences)
        client.set(name, None, {"who": name}, Scope.user_info)
        client.set_many(name, {key: {"who": name} for key in ALL_BLOCKS}, Scope.user_state_summary)
    return made


def write_at_random(client: DjangoXBlockUserStateClient, name: str, key: UsageKey, choice: random.Random) -> None:
    """Set, delete and score a block some times, in any order."""
    for number in range(choice.randint(1, 4)):
        act = choice.randrange(4)
        if act == 0:
            client.set_score(name, key, choice.randrange(10), 10)
        elif act == 1:
            client.set(name, key, {"who": name, "number": number, "essay": ESSAY, "odd": float("inf")})
        elif act == 2:
            client.set(name, key, {f"f{number}": [number, "ü\u0000"]})
        else:
            client.delete(name, key)
    client.set_score(name, key, 10, 10)


def id_of(key: UsageKey) -> int:
    return identify_block(key).id


def ship(site: str) -> None:
    if SITES[site]:
        ship_all()


def check_history() -> str:
    output = StringIO()
    call_command("check_history", stdout=output)
    return output.getvalue()


def seen_at(*keys: UsageKey) -> dict[str, Any]:
    """Return everything that a client reads of the learners under these keys, without the keys."""
    client = DjangoXBlockUserStateClient()
    seen: dict[str, Any] = {}
    for place, key in enumerate(keys):
        for name in NAMES:
            states = [(one.state, one.updated, one.revision) for one in client.get_many(name, [key])]
            seen[f"{place} {name}"] = (states, client.get_scores(name, [key]).get(key), history_of(name, key))
        for scope in (Scope.user_state, Scope.user_state_summary):
            found = client.iter_all_for_block(key, scope)
            seen[f"{place} {scope.name}"] = [(one.username, one.state, one.updated, one.revision) for one in found]
    # NaN and infinities are equal to themselves in texts only.
    return {name: repr(value) for name, value in seen.items()}


def history_of(name: str, key: UsageKey) -> list[Any]:
    try:
        return [
            (entry.state, entry.updated, entry.revision, entry.score)
            for entry in DjangoXBlockUserStateClient().get_history(name, key)
        ]
    except DoesNotExist:
        return []


Rows = dict[str, list[dict[str, Any]]]


def stored() -> Rows:
    """Return all columns of all rows in all stores, by the name of the model, and the keys of the registry."""
    found: Rows = {}
    models_of_state = (StudentModule, UserStateSummary, Preferences, UserInfo)
    for model, alias in (*stores("default"), *((model, "default") for model in models_of_state)):
        found[model.__name__] = in_order(comparable(row) for row in model._base_manager.using(alias).values())
    return found


def comparable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}


def in_order(rows: Any) -> list[dict[str, Any]]:
    return sorted(rows, key=str)


def moved(rows: Rows, *pairs: tuple[UsageKey, UsageKey], learners: Sequence[Any] | None = None) -> Rows:
    """Return `rows` with another block in the rows of these blocks, and nothing else changed."""
    ids = {id_of(old): id_of(new) for old, new in pairs}

    def move(row: dict[str, Any]) -> dict[str, Any]:
        is_moved = row.get("block_id") in ids and (learners is None or row.get("student_id") in learners)
        return {**row, "block_id": ids[row["block_id"]]} if is_moved else row

    return {name: in_order(map(move, of_model)) for name, of_model in rows.items()}


def mapped(key: UsageKey, context: CourseKey) -> UsageKey:
    if isinstance(key, AsideUsageKeyV1 | AsideUsageKeyV2):
        return key.replace(usage_key=mapped(key.usage_key, context))
    return context.make_usage_key(key.block_type, key.block_id)


def write_in_all(*keys: UsageKey, names: Sequence[str] = NAMES, value: str = "") -> None:
    for name in names:
        DjangoXBlockUserStateClient().set_many(name, {key: {"who": name, "value": value} for key in keys})


@pytest.mark.usefixtures("small_pages")
def test_a_block_moves_with_all_of_its_columns_and_nothing_else_moves(learners: list[User], site: str) -> None:
    ship(site)
    rows, seen, nothing = stored(), seen_at(FIRST), seen_at(TARGET)
    assert move_state(FIRST, TARGET, **BY) == Moved(5, 1, 0, ())
    ship(site)
    assert stored() == moved(rows, (FIRST, TARGET))
    assert seen_at(TARGET) == seen
    assert seen_at(FIRST) == nothing
    assert check_history()


@pytest.mark.usefixtures("small_pages")
def test_history_is_readable_before_it_is_shipped(learners: list[User], site: str) -> None:
    """By relay, all entries are in the outbox before and after; nothing is shipped in between."""
    rows, seen, nothing = stored(), seen_at(FIRST), seen_at(TARGET)
    move_state(FIRST, TARGET, **BY)
    assert seen_at(TARGET) == seen
    assert seen_at(FIRST) == nothing
    check_history()
    ship(site)
    expected = moved(rows, (FIRST, TARGET))
    if site == "by relay":
        expected["StudentModuleHistoryExtended"], expected["HistoryOutbox"] = expected["HistoryOutbox"], []
    assert stored() == expected


@pytest.mark.extended_history
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("multiple", [False, True])
def test_history_moves_out_of_every_store_whatever_the_flags(
    settings: Settings, extended: bool, multiple: bool
) -> None:
    make_learners(*NAMES)
    for name in NAMES[:3]:
        add_entries_to_every_store(settings, DjangoXBlockUserStateClient(), name)
    ship_all()
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": extended, "READ_MULTIPLE_HISTORIES": multiple}
    rows, seen = stored(), seen_at(histories.BLOCK)
    assert len(rows["StudentModuleHistory"]) > 3
    assert len(rows["StudentModuleHistoryExtended"]) > 3
    assert move_state(histories.BLOCK, TARGET, **BY) == Moved(3, 0, 0, ())
    assert stored() == moved(rows, (histories.BLOCK, TARGET))
    assert seen_at(TARGET) == seen
    assert check_history()


@pytest.mark.extended_history
@pytest.mark.usefixtures("small_pages")
def test_waiting_entries_move_beside_shipped_ones(settings: Settings) -> None:
    make_learners(*NAMES)
    for name in NAMES[:3]:
        add_entries_to_every_store(settings, DjangoXBlockUserStateClient(), name)
    rows, seen = stored(), seen_at(histories.BLOCK)
    assert {*histories.revisions()} == {"HistoryOutbox", "StudentModuleHistory", "StudentModuleHistoryExtended"}
    move_state(histories.BLOCK, TARGET, **BY)
    assert seen_at(TARGET) == seen
    assert history_of("ann", histories.BLOCK) == []
    ship_all()
    expected = moved(rows, (histories.BLOCK, TARGET))
    shipped = expected["HistoryOutbox"] + expected["StudentModuleHistoryExtended"]
    expected |= {"HistoryOutbox": [], "StudentModuleHistoryExtended": in_order(shipped)}
    assert stored() == expected
    assert seen_at(TARGET) == seen
    assert check_history()


@pytest.mark.usefixtures("small_pages")
def test_a_course_run_moves_with_its_asides(learners: list[User], site: str) -> None:
    ship(site)
    pairs = [(key, mapped(key, NEW_RUN)) for key in (*BLOCKS, *ASIDES, FILM)]
    old, new = [key for key, _ in pairs], [key for _, key in pairs]
    rows, seen = stored(), seen_at(*old)
    assert move_state(COURSE, NEW_RUN, **BY) == Moved(30, 5, 0, ())
    ship(site)
    assert stored() == moved(rows, *pairs)
    assert seen_at(*new) == seen
    assert {str(one.block_key) for one in DjangoXBlockUserStateClient().iter_all_for_course(NEW_RUN)} <= {
        *map(str, new)
    }
    assert list(DjangoXBlockUserStateClient().iter_all_for_course(COURSE)) == []
    assert Block.objects.filter(context__key=str(NEW_RUN)).count() == len(pairs)
    assert move_state(COURSE, NEW_RUN, **BY) == Moved(0, 0, 0, ())


@pytest.mark.usefixtures("small_pages")
def test_several_blocks_move_by_a_mapping(learners: list[User], site: str) -> None:
    ship(site)
    pairs = {SECOND: TARGET, THIRD: mapped(SECOND, NEW_RUN)}
    rows, seen = stored(), seen_at(*pairs)
    assert move_state(pairs, **BY) == Moved(10, 2, 0, ())
    ship(site)
    assert stored() == moved(rows, *pairs.items())
    assert seen_at(*pairs.values()) == seen


def test_an_empty_mapping_moves_nothing(learners: list[User]) -> None:
    rows = stored()
    assert move_state({}, **BY) == Moved(0, 0, 0, ())
    assert stored() == rows


CONTEXTS = [
    "course-v1:Astro+A101+2027",
    "Astro/A101/2027",
    "library-v1:Astro+Lib",
    "lib:Astro:Lib",
]


@pytest.mark.parametrize("new", CONTEXTS)
@pytest.mark.parametrize("old", CONTEXTS)
def test_blocks_move_between_courses_and_libraries_of_all_kinds(old: str, new: str) -> None:
    make_learners(*NAMES)
    names = {
        "course-v1:Astro+A101+2027": "block-v1:Astro+A101+2027+type@problem+block@x",
        "Astro/A101/2027": "i4x://Astro/A101/problem/x",
        "library-v1:Astro+Lib": "lib-block-v1:Astro+Lib+type@problem+block@x",
        "lib:Astro:Lib": "lb:Astro:Lib:problem:x",
    }
    old_context, new_context = map(LearningContextKey.from_string, (old, new))
    old_key, new_key = (
        key if name != "Astro/A101/2027" else key.map_into_course(CourseKey.from_string(name))
        for name, key in ((name, UsageKey.from_string(names[name])) for name in (old, new))
    )
    aside, new_aside = AsideUsageKeyV2(old_key, "notes"), AsideUsageKeyV2(new_key, "notes")
    write_in_all(old_key, aside)
    seen = seen_at(old_key, aside)
    if old == new:
        with pytest.raises(ValueError, match="can't be moved to itself"):
            move_state(old_context, new_context, **BY)
        return
    assert move_state(old_context, new_context, **BY).states == 10
    assert seen_at(new_key, new_aside) == seen
    found = {one.block_key for one in DjangoXBlockUserStateClient().iter_all_for_course(new_context)}
    assert found == {new_key, new_aside}


def test_a_block_without_a_key_in_the_new_context_stops_the_move_before_it_begins(learners: list[User]) -> None:
    write_in_all(make_block("a:b"))
    rows = stored()
    with pytest.raises(ValueError, match=r"block@a:b can't be moved to lib:Astro:Lib: .*nothing was moved"):
        move_state(COURSE, LearningContextKey.from_string("lib:Astro:Lib"), **BY)
    assert stored() == rows
    assert not Block.objects.filter(context__key="lib:Astro:Lib").exists()


def test_a_block_with_a_stored_key_that_can_not_be_read_stops_the_move_of_its_course(learners: list[User]) -> None:
    Block.objects.filter(pk=id_of(SECOND)).update(usage_key="nonsense")
    rows = stored()
    with pytest.raises(ValueError, match="nonsense can't be moved to"):
        move_state(COURSE, NEW_RUN, **BY)
    assert stored() == rows


def test_a_single_learner_moves_alone(learners: list[User], site: str) -> None:
    ship(site)
    rows = stored()
    with pytest.raises(UserDoesNotExist, match="no user 'nobody'"):
        move_state(FIRST, TARGET, username="nobody", **BY)
    with pytest.raises(TypeError, match="username must be a string, not 7"):
        move_state(FIRST, TARGET, username=7, **BY)  # type: ignore[arg-type]
    assert move_state(FIRST, TARGET, username="bob", **BY) == Moved(1, 0, 0, ())
    ship(site)
    bob = learners[NAMES.index("bob")].pk
    assert stored() == moved(rows, (FIRST, TARGET), learners=[bob])
    assert move_state(COURSE, NEW_RUN, username="bob", **BY).states == 6
    assert move_state(FIRST, TARGET, **BY) == Moved(4, 1, 0, ())


def test_an_unrecorded_block_moves_and_leaves_no_tombstone(learners: list[User], site: str) -> None:
    seen = seen_at(FILM)
    ship(site)
    assert move_state(FILM, OTHER_FILM, **BY).states == 5
    assert seen_at(OTHER_FILM) == seen
    assert not HistoryOutbox.objects.exists()


def test_moving_there_and_back_leaves_everything_as_it_was(learners: list[User], site: str) -> None:
    ship(site)
    rows, seen = stored(), seen_at(FIRST)
    # By relay, the tombstones and the entries of both moves meet in the outbox.
    move_state(FIRST, TARGET, **BY)
    move_state(TARGET, FIRST, **BY)
    assert seen_at(FIRST) == seen
    move_state(FIRST, TARGET, **BY)
    assert seen_at(TARGET) == seen
    move_state(TARGET, FIRST, **BY)
    ship(site)
    assert stored() == rows
    assert check_history()


def test_moving_again_or_nothing_is_no_error(learners: list[User], site: str) -> None:
    move_state(FIRST, TARGET, **BY)
    ship(site)
    rows = stored()
    assert move_state(FIRST, TARGET, **BY) == Moved(0, 0, 0, ())
    assert move_state(make_block("unknown"), make_block("unknown-too"), **BY) == Moved(0, 0, 0, ())
    assert move_state(CourseKey.from_string("course-v1:No+No+No"), NEW_RUN, **BY) == Moved(0, 0, 0, ())
    assert stored() == rows
    assert not Block.objects.filter(usage_key__contains="unknown").exists()


@pytest.mark.usefixtures("small_pages")
def test_a_learner_with_a_state_under_the_new_key_stays_and_is_named(learners: list[User], site: str) -> None:
    write_in_all(TARGET, names=["bob", "dan"], value="own")
    client = DjangoXBlockUserStateClient()
    # A deleted state, and a score alone, are rows too.
    client.delete("dan", TARGET)
    client.set_score("eve", TARGET, 1, 2)
    client.set("ann", TARGET, {"own": 1}, Scope.user_state_summary)
    ship(site)
    rows, staying = stored(), {"bob", "dan", "eve"}
    result = move_state(FIRST, TARGET, **BY)
    assert result[:3] == (2, 0, 4)
    assert {*result.details} == {
        *(Skipped(name, FIRST, TARGET, HAS_STATE) for name in staying),
        Skipped(None, FIRST, TARGET, HAS_STATE),
    }
    ship(site)
    moving_learners = [user.pk for user in learners if user.username not in staying]
    assert stored() == moved(rows, (FIRST, TARGET), learners=moving_learners)
    assert check_history()
    assert move_state(FIRST, TARGET, **BY)[:3] == (0, 0, 4)


@pytest.mark.usefixtures("small_pages")
def test_a_learner_with_history_alone_under_the_new_key_stays(learners: list[User], site: str) -> None:
    """SQL has deleted the row under the new key; the entries are in the store of the site, or wait for it."""
    write_in_all(TARGET, names=["bob"], value="own")
    if site == "at once":
        ship(site)
    StudentModule.objects.filter(block_id=id_of(TARGET))._raw_delete("default")
    rows = stored()
    result = move_state(FIRST, TARGET, **BY)
    assert result == Moved(4, 1, 1, (Skipped("bob", FIRST, TARGET, HAS_HISTORY),))
    ship(site)
    bob = learners[NAMES.index("bob")].pk
    entries = [row for name, of_model in rows.items() if "History" in name or "Outbox" in name for row in of_model]
    kept = [row for row in entries if row["student_id"] == bob and row["block_id"] in (id_of(FIRST), id_of(TARGET))]
    now = [row for name, of_model in stored().items() if "History" in name or "Outbox" in name for row in of_model]
    assert in_order(kept) == in_order(row for row in now if row in kept)
    call_command("sweep_history", stdout=StringIO())
    assert move_state(FIRST, TARGET, **BY) == Moved(1, 0, 0, ())
    assert check_history()


def test_the_details_of_a_result_are_bounded(learners: list[User], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action, "MOST_DETAILS", 3)
    write_in_all(TARGET, make_block("moved-too"), value="own")
    result = move_state({FIRST: TARGET, SECOND: make_block("moved-too")}, **BY)
    assert result[:3] == (0, 2, 10)
    assert len(result.details) == 3


def test_a_learner_who_is_no_user_any_more_moves_and_has_no_name(learners: list[User]) -> None:
    write_in_all(TARGET, names=["ann"])
    User.objects.filter(username__in=["ann", "bob"])._raw_delete("default")
    result = move_state(FIRST, TARGET, **BY)
    assert result == Moved(4, 1, 1, (Skipped(None, FIRST, TARGET, HAS_STATE),))


def test_a_deletion_that_was_not_shipped_stays_a_deletion(learners: list[User], site: str) -> None:
    """The learners had a life before in the old and in the new block, and its history waits to be deleted."""
    write_in_all(TARGET, value="gone")
    ship(site)
    flags = SITES[site]
    write_under = {**flags, "SHIP_HISTORY": "by_relay"} if flags else {}
    with override_settings(XBLOCK_USER_STATE=write_under):
        StudentModule.objects.filter(block_id__in=[id_of(FIRST), id_of(TARGET)]).delete()
        write_in_all(FIRST, value="new life")
        if flags:
            assert HistoryOutbox.objects.filter(revision=TOMBSTONE).count() == 10
        seen = seen_at(FIRST)
        assert move_state(FIRST, TARGET, **BY).states == 5
        assert seen_at(TARGET) == seen
    ship(site)
    assert seen_at(TARGET) == seen
    assert history_of("ann", FIRST) == []
    assert check_history()
    for model, alias in stores("default"):
        of_blocks = model._base_manager.using(alias).filter(block_id__in=[id_of(FIRST), id_of(TARGET)])
        assert {*of_blocks.values_list("block_id", "revision")} <= {(id_of(TARGET), 1)}


@pytest.mark.extended_history
def test_an_entry_in_the_outbox_and_in_the_extended_history_moves_once(settings: Settings) -> None:
    """A shipment was committed there, and the process ended before its rows left the outbox."""
    settings.XBLOCK_USER_STATE = SITES["by relay"]
    make_learners(*NAMES)
    write_in_all(FIRST, value="1")
    write_in_all(FIRST, value="2")
    waiting = list(HistoryOutbox.objects.all())
    ship_all()
    HistoryOutbox._base_manager.bulk_create(waiting)
    seen = seen_at(FIRST)
    move_state(FIRST, TARGET, **BY)
    assert seen_at(TARGET) == seen
    ship_all()
    assert seen_at(TARGET) == seen
    assert histories.revisions() == {"StudentModuleHistoryExtended": [1, 2] * 5}
    assert check_history()


@pytest.mark.extended_history
@pytest.mark.usefixtures("small_pages")
def test_both_lives_of_a_restored_row_move(settings: Settings) -> None:
    """A backup has taken the rows back, and the learners have gone on where the extended history has other entries."""
    settings.XBLOCK_USER_STATE = SITES["by relay"]
    make_learners(*NAMES)
    write_in_all(FIRST, value="1")
    backup = list(StudentModule.objects.all())
    write_in_all(FIRST, value="2")
    write_in_all(FIRST, value="3")
    ship_all()
    StudentModule.objects.all()._raw_delete("default")
    for row in backup:
        row.save_base(raw=True, force_insert=True)
    write_in_all(FIRST, value="other life", names=NAMES[:3])
    assert move_state(FIRST, TARGET, **BY).states == 5
    ship_all()
    for name in NAMES:
        lives = ["3", "2", "1"]
        expected = ["other life", *lives] if name in NAMES[:3] else lives
        assert [entry[0]["value"] for entry in history_of(name, TARGET)] == expected
    write_in_all(TARGET, value="goes on")
    ship_all()
    assert [entry[0]["value"] for entry in history_of("eve", TARGET)] == ["goes on", "3", "2", "1"]
    assert history_of("ann", FIRST) == []


@pytest.mark.extended_history
def test_an_entry_in_both_histories_stays_in_both(settings: Settings) -> None:
    """A back-fill has copied the default history."""
    make_learners(*NAMES)
    write_in_all(FIRST, value="1")
    for _ in Backfill("default", 10).pages():
        pass
    settings.XBLOCK_USER_STATE = SITES["at once"]
    rows = stored()
    move_state(FIRST, TARGET, **BY)
    assert stored() == moved(rows, (FIRST, TARGET))
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "READ_MULTIPLE_HISTORIES": False}
    assert len(history_of("ann", TARGET)) == 1


@pytest.mark.extended_history
def test_nothing_moves_while_the_history_database_is_down(settings: Settings, outage: Outage) -> None:
    settings.XBLOCK_USER_STATE = SITES["at once"]
    make_learners(*NAMES)
    write_in_all(FIRST)
    rows = stored()
    with outage.lasts(), pytest.raises(ServiceUnavailable, match="nothing more was moved: the history can't be read"):
        move_state(FIRST, TARGET, **BY)
    assert stored() == rows
    assert move_state(FIRST, TARGET, **BY).states == 5
    assert stored() == moved(rows, (FIRST, TARGET))


@pytest.mark.extended_history
def test_entries_that_can_not_be_shipped_wait_in_the_outbox(settings: Settings, outage: Outage) -> None:
    settings.XBLOCK_USER_STATE = SITES["at once"]
    make_learners(*NAMES)
    write_in_all(FIRST, value="1")
    write_in_all(FIRST, value="2")
    seen, rows = seen_at(FIRST), stored()
    with refusing("INSERT", extended_model(), "NEW.revision = 2", "student_module_history"):
        assert move_state(FIRST, TARGET, **BY).states == 5
        assert HistoryOutbox.objects.filter(revision=2, block_id=id_of(TARGET)).count() == 5
        assert seen_at(TARGET) == seen
    ship_all()
    assert stored() == moved(rows, (FIRST, TARGET))


@pytest.mark.extended_history
def test_more_entries_than_one_shipment_takes_are_all_shipped(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = SITES["at once"]
    make_learners("ann")
    for number in range(110):
        DjangoXBlockUserStateClient().set("ann", FIRST, {"number": number})
    assert move_state(FIRST, TARGET, **BY).states == 1
    assert histories.revisions() == {"StudentModuleHistoryExtended": [*range(1, 111)]}
    assert len(history_of("ann", TARGET)) == 110


@pytest.mark.usefixtures("small_pages")
def test_an_interrupted_move_keeps_whole_rows_and_goes_on(learners: list[User], site: str) -> None:
    ship(site)
    rows, seen = stored(), seen_at(*BLOCKS)
    move = Move(identify_block(FIRST), identify_block(TARGET))
    assert next(moving.move_blocks("default", [move])).states == 2
    ship(site)
    assert stored() == moved(rows, (FIRST, TARGET), learners=[user.pk for user in learners[:2]])
    assert move_state(FIRST, TARGET, **BY) == Moved(3, 1, 0, ())
    ship(site)
    assert stored() == moved(rows, (FIRST, TARGET))
    assert seen_at(TARGET, SECOND, THIRD) == seen


def test_a_move_in_a_transaction_is_rolled_back_with_it(learners: list[User], site: str) -> None:
    rows = stored()
    with transaction.atomic():
        assert move_state(FIRST, TARGET, **BY).states == 5
        transaction.set_rollback(True)
    assert stored() == rows
    with transaction.atomic():
        move_state(FIRST, TARGET, **BY)
    ship(site)
    assert {row["block_id"] for row in stored()["StudentModule"]} >= {id_of(TARGET)}
    assert check_history()


# Of a page, in the state's database. SQLite takes its write lock by a DELETE.
CHECKS = ["SELECT"] * 5
# Those of dropped entries move, and those of archived ones are buried.
WATERMARKS = ["UPDATE", "UPDATE"]
PAGE_STATEMENTS = {
    "default": [*CHECKS, "UPDATE", "UPDATE", *WATERMARKS],
    # The entries come from the extended history, as rows of the outbox; each learner has a tombstone.
    "at once": [*CHECKS, "UPDATE", "UPDATE", "INSERT", "INSERT", *WATERMARKS],
    "by relay": [*CHECKS, "UPDATE", "UPDATE", "INSERT", "INSERT", *WATERMARKS],
}


@pytest.mark.parametrize("count", [1, 40])
def test_a_page_has_as_many_statements_whatever_its_rows(site: str, settings: Settings, count: int) -> None:
    names = [f"learner{number}" for number in range(count)]
    make_learners(*names)
    write_in_all(FIRST, names=names, value="1")
    write_in_all(FIRST, names=names, value="2")
    ship(site)
    # Shipping has statements of its own.
    settings.XBLOCK_USER_STATE = {**SITES[site], "SHIP_HISTORY": "by_relay"}
    move = Move(identify_block(FIRST), identify_block(TARGET))
    DjangoXBlockUserStateClient().set(names[0], TARGET, {"registers": 1}, Scope.user_state_summary)
    pages = moving.move_blocks("default", [move])
    with captured() as statements:
        assert next(pages).states == count
    # Citus locks rows of one learner in a statement.
    lock = {"sqlite": ["DELETE"], "citus": ["SELECT"] * count}.get(citus.DIALECT, [])
    before = ["SELECT"] * 3
    assert verbs(statements) == [*before, "BEGIN", *lock, *PAGE_STATEMENTS[site], "COMMIT"]
    assert not any("body" in text.split("FROM")[0] for text in statements if text.startswith("SELECT"))


def test_a_client_that_remembers_the_old_row_begins_anew(learners: list[User], site: str) -> None:
    ship(site)
    client = DjangoXBlockUserStateClient()
    client.set("ann", FIRST, {"before": 1})
    seen, revision = seen_at(FIRST), client.get("ann", FIRST).revision
    move_state(FIRST, TARGET, **BY)
    with pytest.raises(Conflict) as caught:
        client.set("ann", FIRST, {"after": 1}, if_revision=revision)
    assert [(row.expected, row.actual) for row in caught.value.rows] == [(revision, 0)]
    remembering = DjangoXBlockUserStateClient()
    remembering.set("ann", TARGET, {"there": 1})
    assert move_state(TARGET, make_block("again"), username="ann", **BY).states == 1
    remembering.set("bob", FIRST, {"after": 1})
    remembering.set("ann", TARGET, {"after": 1})
    assert [entry[:1] + entry[2:3] for entry in history_of("ann", TARGET)] == [({"after": 1}, 1)]
    assert [entry[:1] + entry[2:3] for entry in history_of("bob", FIRST)] == [({"after": 1}, 1)]
    ship(site)
    assert check_history()
    assert seen_at(TARGET)["0 cid"] == seen["0 cid"]


def test_a_learner_goes_on_under_the_new_key(learners: list[User], site: str) -> None:
    before = history_of("ann", FIRST)
    move_state(FIRST, TARGET, **BY)
    client = DjangoXBlockUserStateClient()
    client.set("ann", TARGET, {"after": 1})
    client.set_score("ann", TARGET, 3, 10)
    after = history_of("ann", TARGET)
    assert after[2:] == before
    assert [entry[2] for entry in after[:2]] == [before[0][2] + 2, before[0][2] + 1]
    ship(site)
    assert check_history()


def test_a_block_with_the_id_of_another_is_not_moved(learners: list[User]) -> None:
    write_in_all(TARGET, names=["ann"])
    rows = stored()
    for key in (FIRST, TARGET):
        usage_key = Block.objects.get(pk=id_of(key)).usage_key
        Block.objects.filter(pk=id_of(key)).update(usage_key="block-v1:A+B+C+type@problem+block@collision")
        with pytest.raises(BlockKeyCollision):
            move_state(FIRST, TARGET, **BY)
        Block.objects.filter(pk=id_of(key)).update(usage_key=usage_key)
    assert stored() == rows


def test_the_columns_of_all_stores_move(site: str) -> None:
    """A column that is added to the models moves too, because entries are copied by the model's columns."""
    assert {*COLUMNS} == {field.attname for field in StudentModuleHistory._meta.concrete_fields}
    if SITES[site]:
        assert {*COLUMNS} == {field.attname for field in extended_model()._meta.concrete_fields}


def test_a_move_is_in_the_log_and_asks_first(learners: list[User]) -> None:
    with pytest.raises(PermissionDenied, match="'ada' may not act on the state of all learners"):
        move_state(FIRST, TARGET, policy=Asked(refuse), **BY)
    assert not LoggedAction.objects.exists()
    move_state(FIRST, TARGET, username="bob", **BY)
    [row] = LoggedAction.objects.all()
    assert (row.act, row.block_id, row.actor_id) == ("move_state", identify_block(FIRST).id, BY["actor"].pk)
    assert (row.revision_before, row.revision_after) == (None, None)
    assert row.student_id == next(user.pk for user in learners if user.username == "bob")

"""``manage.py repair_history`` keeps what can be read, closes off the rest, and leaves a sound history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from threading import Event, Thread
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models import F
from pytest_django import Settings

from tests.factories import make_blocks, make_learners
from tests.integration.histories import BLOCK, add_entries, add_entries_to_every_store, revisions
from tests.integration.interference import just_before, on_another_connection, refusing
from tests.integration.outage import ALIAS, Outage
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from tests.integration.rows import shift_times
from tests.integration.test_check_history import SITES
from xblock_user_state.archive.format import read_export
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.encoding import FULL, LOST, MAX_CHAIN, SPLICE, checksum, encode_compact
from xblock_user_state.history.entries import COLUMNS, KEY, extended_model, stores
from xblock_user_state.interface import DamagedHistory, HistoryEntry
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.models import Block, HistoryOutbox, StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
TWO = pytest.mark.extended_history
ENTRIES = MAX_CHAIN + 8


@pytest.fixture
def client(settings: Settings) -> DjangoXBlockUserStateClient:
    settings.XBLOCK_USER_STATE = {}
    make_learners("ann", "bob")
    return DjangoXBlockUserStateClient()


@pytest.fixture(params=[pytest.param(name, marks=TWO if name in ("extended", "outbox") else ()) for name in SITES])
def site(request: pytest.FixtureRequest, settings: Settings, client: DjangoXBlockUserStateClient) -> str:
    """Name of a site that keeps its history in one store and one encoding."""
    settings.XBLOCK_USER_STATE = SITES[request.param]
    return str(request.param)


def run(command: str, *arguments: str) -> list[str]:
    """Return the lines of a command's output, without the names of learner and block."""
    output = StringIO()
    call_command(command, *arguments, stdout=output)
    return [line.rpartition(f" ({BLOCK}): ")[2] for line in output.getvalue().splitlines()]


def repair(*arguments: str) -> list[str]:
    """Run the command first without changes; return the repairs, which must be the same in both runs."""
    before = everything()
    planned = run("repair_history", "--dry-run", *arguments)
    assert everything() == before
    done = run("repair_history", *arguments)
    planned = planned[: _summary(planned)]
    assert all(line.startswith("would be done: ") for line in planned)
    assert [line.removeprefix("would be done: ") for line in planned] == done[: _summary(done)]
    return done[: _summary(done)]


def _summary(lines: Sequence[str]) -> int:
    return next(number for number, line in enumerate(lines) if " were checked; " in line)


def everything() -> list[Any]:
    tables: list[tuple[Any, str]] = [(StudentModule, "default"), *stores("default")]
    return [
        tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
        for model, alias in tables
        for row in model._base_manager.using(alias).order_by("pk").values_list()
    ]


def entry_rows() -> Any:
    """Return the entries of the one store that has any."""
    [rows] = [rows for model, alias in stores("default") if (rows := model._base_manager.using(alias)).exists()]
    return rows


def readable() -> dict[int, HistoryEntry]:
    """Return the entries that can be read, by revision."""
    found = {}
    for entry in DjangoXBlockUserStateClient().get_history("ann", BLOCK):
        with suppress(DamagedHistory):
            assert entry.state is None or entry.state
            found[entry.revision] = entry
    return found


def lost() -> list[int]:
    """Return the revisions that can't be read, oldest first."""
    every = {entry.revision for entry in DjangoXBlockUserStateClient().get_history("ann", BLOCK)}
    return sorted(every - readable().keys())


def row() -> StudentModule:
    return StudentModule.objects.get(student__username="ann")


def change_row(**columns: Any) -> None:
    """Change the learner's row, as SQL does."""
    StudentModule._base_manager.filter(student__username="ann").update(**columns)


def restore(change: Callable[[], object]) -> None:
    """Run `change`, then give the row its values from before, as a backup does."""
    [before] = StudentModule._base_manager.filter(student__username="ann").values()
    change()
    # Citus refuses an UPDATE that names the learner's column.
    change_row(**{name: value for name, value in before.items() if name not in ("student_id", "block_id")})


def assert_sound(closed: int = 0) -> None:
    """Check that `check_history` is clean, that a second repair finds nothing, and that the next write continues."""
    lines = run("check_history")
    assert lines[1:] == ([f"{closed} entries were lost and are closed off."] if closed else [])
    assert run("repair_history")[0].endswith("; 0 were repaired.")
    before, revision = readable(), row().revision
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"number": 1_000_000})
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"number": 1_000_001})
    assert row().revision == revision + 2
    after = readable()
    assert [(after.pop(revision + number).state or {})["number"] for number in (1, 2)] == [1_000_000, 1_000_001]
    assert after == before
    assert len(run("check_history")) == 1 + bool(closed)


def drop(*numbers: int) -> None:
    entry_rows().filter(revision__in=numbers)._raw_delete(entry_rows().db)


def damage(*numbers: int, **columns: Any) -> None:
    entry_rows().filter(revision__in=numbers).update(**(columns or {"body": b"damaged"}))


SQL_STATE = '{"number":77,"essay":"of a stranger"}'
# The changes, and the number of entries that can't be read afterwards where all entries are plain.
DAMAGES: dict[str, tuple[list[Callable[[], object]], int]] = {
    "nothing": ([], 0),
    "a damaged entry": ([lambda: damage(5)], 1),
    "a full one": ([lambda: damage(MAX_CHAIN + 1)], 1),
    "no body": ([lambda: damage(5, body=None, encoding=FULL)], 1),
    "an unknown encoding": ([lambda: damage(5, encoding=99)], 1),
    "a missing entry": ([lambda: drop(5)], 1),
    "several missing": ([lambda: drop(5, 6, 7, 20)], 4),
    "the first missing": ([lambda: drop(1, 2)], 2),
    "the newest damaged": ([lambda: damage(ENTRIES)], 0),
    "the newest missing": ([lambda: drop(ENTRIES)], 0),
    "the newest three missing": ([lambda: drop(ENTRIES, ENTRIES - 1, ENTRIES - 2)], 2),
    "the newest damaged, the state changed": ([lambda: damage(ENTRIES), lambda: change_row(state=SQL_STATE)], 1),
    "the newest missing, the state changed": ([lambda: drop(ENTRIES), lambda: change_row(state=SQL_STATE)], 1),
    "the newest missing, no checksum": ([lambda: drop(ENTRIES), lambda: change_row(history_checksum=None)], 1),
    "the state changed": ([lambda: change_row(state=SQL_STATE)], 0),
    "the state removed": ([lambda: change_row(state=None)], 0),
    "the score changed": ([lambda: change_row(grade=0.5, max_grade=1.0)], 0),
    "the revision lowered": ([lambda: change_row(revision=7)], 0),
    "the revision raised": ([lambda: change_row(revision=F("revision") + 3)], 2),
    "the revision raised by one": ([lambda: change_row(revision=F("revision") + 1, state=SQL_STATE)], 0),
    "the revision raised, the state removed": ([lambda: change_row(revision=F("revision") + 1, state=None)], 0),
    "a wrong checksum": ([lambda: change_row(history_checksum=5)], 0),
    "a wrong chain": ([lambda: change_row(history_chain=3)], 0),
    "all at once": ([lambda: drop(3), lambda: damage(20), lambda: change_row(state=SQL_STATE, revision=30)], 2),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_repaired(site: str, client: DjangoXBlockUserStateClient, kind: str) -> None:
    add_entries(client, ENTRIES)
    changes, closed = DAMAGES[kind]
    for change in changes:
        change()
    before, state = readable(), client.get("ann", BLOCK, fields=["number"]) if row().state else None

    acts = repair(*(["--lost-start"] if kind == "the first missing" else []))

    after = readable()
    assert {revision: after[revision] for revision in before} == before
    assert (client.get("ann", BLOCK, fields=["number"]).state if row().state else None) == (state and state.state)
    assert bool(acts) == (kind != "nothing")
    # Entries that build on a lost one are lost too.
    assert len(lost()) >= closed
    if site == "plain":
        assert len(lost()) == closed
    assert len(revisions()) == 1
    assert_sound(len(lost()))


def test_the_bytes_of_a_closed_entry_are_kept(site: str, client: DjangoXBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    add_entries(client, 5)
    before = {entry.revision: entry for entry in entry_rows()}
    body = bytes(before[3].body)
    damage(3, body=b"\xff" + body)
    repair()
    closed = entry_rows().get(revision=3)
    assert (closed.encoding, bytes(closed.body)[4:]) == (LOST, b"\xff" + body)
    assert int.from_bytes(bytes(closed.body)[:4], "big") == before[3].encoding
    assert (closed.created, closed.grade, closed.max_grade) == (before[3].created, 1.0, 2.0)
    [entry] = [entry for entry in client.get_history("ann", BLOCK) if entry.revision == 3]
    assert entry.score is not None
    with pytest.raises(DamagedHistory, match="revision 3 can't be read: it was lost, and is closed off"):
        _ = entry.state


def test_a_closed_entry_can_be_read_again_once_its_base_is_back(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 10)
    before = everything()
    sound = entry_rows().get(revision=4)
    drop(4)
    assert len(repair()) == 7
    assert lost() == list(range(4, 10))
    entry_rows().filter(revision=4).update(encoding=sound.encoding, body=bytes(sound.body), created=sound.created)
    assert repair() == [f"revision {revision} can be read again" for revision in range(5, 10)]
    assert lost() == []
    # The newest was written from the state, as a full entry.
    assert [kept for kept in everything() if kept in before] == before[1:-1]


def test_each_lost_entry_is_named_with_its_reason(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 12)
    drop(2, 3, 6)
    damage(9)
    change_row(state=SQL_STATE)
    acts = repair()
    assert acts[0] == "revisions 2 to 3 were missing; closed off"
    assert acts[1].startswith("revision 4 can't be read: it builds on revision 3, which is missing; it is closed off")
    assert "revision 6 was missing; closed off" in acts
    assert [act.split()[1] for act in acts[1:]] == ["4", "5", "6", "7", "8", "9", "10", "11", "12", "13"]
    assert acts[-1] == "revision 13 records the state: revision 12 is lost"
    line, *_ = StringIO(), None
    call_command("repair_history", stdout=line)
    assert line.getvalue() == "1 rows were checked; 0 were repaired.\n11 entries are lost, and closed off.\n"


def test_a_change_by_a_stranger_becomes_a_revision(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    change_row(state=SQL_STATE, grade=1.0, max_grade=2.0)
    modified = row().modified
    assert repair() == ["revision 4 records the state: it was changed after revision 3"]
    newest = readable()[4]
    assert newest.state == {"number": 77, "essay": "of a stranger"}
    assert newest.score is not None
    assert (newest.score.grade, newest.score.max_grade) == (1.0, 2.0)
    assert newest.updated == row().modified > modified
    assert entry_rows().get(revision=4).actor_id is None


def test_a_restored_row_continues_after_its_history(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    restore(lambda: add_entries(client, 3, start=3))
    before = readable()
    assert len(before) == 6
    assert repair() == [
        "revision 7 records the state: it was restored or changed: its revision was 3, and its history went to 6"
    ]
    after = readable()
    assert (after.pop(7).state or {})["number"] == 2
    assert after == before
    assert_sound()


def test_a_row_whose_history_ends_in_its_state_takes_its_revision(
    site: str, client: DjangoXBlockUserStateClient
) -> None:
    add_entries(client, 3)
    change_row(revision=1)
    reason = "it was restored or changed: its revision was 1, and its history went to 3, which is the same"
    assert repair() == [f"the state has revision 3: {reason}"]
    assert row().revision == 3
    assert len(readable()) == 3
    assert_sound()


def test_a_chain_that_is_too_long_is_cut(client: DjangoXBlockUserStateClient) -> None:
    texts: list[str | None] = [None]
    for number in range(MAX_CHAIN + 3):
        add_entries(client, 1, start=number)
        texts.append(row().state)
        encoding, body = encode_compact(texts[-1], texts[-2])
        StudentModuleHistory._base_manager.filter(revision=number + 1).update(encoding=encoding, body=body)
    change_row(history_chain=0)
    assert repair() == ["revision 33 built on 32 others; it is stored in full"]
    encodings = StudentModuleHistory.objects.order_by("revision").values_list("encoding", flat=True)
    assert list(encodings) == [FULL, *[SPLICE] * 31, FULL, SPLICE, SPLICE]
    assert len(readable()) == MAX_CHAIN + 3
    assert_sound()


@pytest.mark.parametrize("text", ['{"number": 1', "", "no JSON"])
def test_a_plain_entry_that_is_no_json(client: DjangoXBlockUserStateClient, settings: Settings, text: str) -> None:
    settings.XBLOCK_USER_STATE = SITES["plain"]
    add_entries(client, 5)
    damage(3, body=text.encode())
    [act] = repair()
    assert act.endswith("; it is closed off")
    assert entry_rows().get(revision=3).encoding == LOST
    assert len(run("check_history")) == 2


@pytest.mark.parametrize("text", ["garbage", "[1,2]", ""])
def test_a_state_that_is_no_json_object_is_left(site: str, client: DjangoXBlockUserStateClient, text: str) -> None:
    add_entries(client, 3)
    drop(2)
    change_row(state=text)
    before = everything()
    output = StringIO()
    with pytest.raises(CommandError, match="1 rows still disagree with their history"):
        call_command("repair_history", stdout=output)
    assert "not repaired: the state can't be read, so something else than the client wrote it" in output.getvalue()
    assert everything() == before
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"number": 9})
    assert repair()
    assert_sound(len(lost()))


def test_a_row_that_sql_has_raised_by_one_is_a_change_of_a_stranger(
    site: str, client: DjangoXBlockUserStateClient
) -> None:
    add_entries(client, 3)
    change_row(state=SQL_STATE, revision=4)
    assert repair() == ["revision 4 records the state: it was changed after revision 3"]
    assert readable()[4].state == {"number": 77, "essay": "of a stranger"}
    assert row().revision == 4
    assert row().modified > readable()[3].updated


def test_a_dry_run_after_a_repair_tells_of_no_new_loss(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    damage(1)
    assert run("repair_history", "--dry-run")[-1].endswith(" entries would then be lost, and closed off.")
    repair()
    assert run("repair_history", "--dry-run")[-1].endswith(" entries are lost, and closed off.")


@TWO
@pytest.mark.parametrize("broken", ["default", "extended"])
@pytest.mark.parametrize("change", [{"body": b"damaged"}, {"grade": 7.0}, {"created": F("created")}], ids=str)
def test_copies_become_the_same(client: DjangoXBlockUserStateClient, broken: str, change: dict[str, Any]) -> None:
    add_entries(client, 5)
    list(Backfill("default", 100).pages())
    before = readable()
    copies = (
        StudentModuleHistory._base_manager.all() if broken == "default" else extended_model()._base_manager.using(ALIAS)
    )
    for copy in copies.all():
        time = copy.created.replace(microsecond=copy.created.microsecond // 1000 * 1000)
        columns = {"created": time} if "created" in change else change
        if copy.revision == 3 or "created" in change:
            copies.filter(revision=copy.revision).update(**columns)
    acts = repair()
    kept = "extended" if broken == "default" and "body" in change else "default"
    assert acts[-1].endswith(f" is not the same in all stores; the entry of the {kept} history is kept")
    default, extended = (
        [_columns(entry) for entry in rows.order_by("revision")]
        for rows in (StudentModuleHistory.objects, extended_model()._base_manager.using(ALIAS))
    )
    assert default == extended
    if "body" in change:
        assert readable() == before
    assert run("check_history") == ["1 rows with 5 entries were checked."]
    list(Backfill("default", 100, remove_source=True).pages())
    assert revisions() == {"StudentModuleHistoryExtended": [1, 2, 3, 4, 5]}


def _columns(entry: Any) -> list[Any]:
    values = [getattr(entry, name) for name in COLUMNS[len(KEY) :] if name != "body"]
    return [*entry.pk, *values, bytes(entry.body)]


@TWO
@pytest.mark.parametrize("encoding", ["delta", "plain"])
def test_the_copies_that_lead_to_the_state_are_kept(
    client: DjangoXBlockUserStateClient, settings: Settings, encoding: str
) -> None:
    """Each store has a life of the row of its own, and readers would take the wrong one."""
    settings.XBLOCK_USER_STATE = {"HISTORY_ENCODING": encoding, "EXTENDED_HISTORY": True}
    add_entries(client, 3, start=10)
    kept = readable()
    settings.XBLOCK_USER_STATE = {"HISTORY_ENCODING": encoding}
    # Citus moves no row to another learner, not even to the same.
    others = [field.attname for field in StudentModule._meta.concrete_fields if field.attname != "student_id"]
    before = StudentModule._base_manager.values(*others).get()
    StudentModule._base_manager.all()._raw_delete("default")
    add_entries(DjangoXBlockUserStateClient(), 2)
    change_row(**before)
    repair()
    assert readable() == kept
    assert len(run("check_history")) == 1


@TWO
def test_waiting_entries_of_a_restored_row_replace_none(
    client: DjangoXBlockUserStateClient, settings: Settings
) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True}
    add_entries(client, 3)
    restore(lambda: add_entries(client, 2, start=3))
    before = readable()
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    # They have the revisions 4 and 5, which the extended history has of the lost time.
    add_entries(DjangoXBlockUserStateClient(), 2, start=10)
    assert repair() == ["two stores have different entries of revision 4: those of the present state get new revisions"]
    after = readable()
    assert {revision: after[revision] for revision in before} == before
    assert [(entry.state or {})["number"] for entry in after.values()] == [11, 10, 4, 3, 2, 1, 0]
    assert_sound()
    run("relay_history", "--once")
    assert len(readable()) == 9


@TWO
def test_copies_with_another_actor_are_no_other_life(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    add_entries(client, 3)
    copies = extended_model()._base_manager.using(ALIAS)
    copies.bulk_create(extended_model()(**values) for values in HistoryOutbox._base_manager.values(*COLUMNS))
    copies.filter(revision=2).update(actor_id=2_000_000_000)
    [act] = repair()
    assert act == "revision 2 is not the same in all stores; the entry of the outbox is kept"
    assert_sound()


@TWO
def test_entries_go_to_the_store_where_they_belong(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    add_entries_to_every_store(settings, client)
    before = readable()
    for model, alias in stores("default"):
        rows = model._base_manager.using(alias)
        [first, *_] = rows.order_by("revision")
        rows.filter(revision=first.revision)._raw_delete(alias)
        [second, *_] = rows.order_by("revision")
        rows.filter(revision=second.revision).update(body=b"damaged", encoding=FULL)
    places = {name: set(numbers) for name, numbers in revisions().items()}
    repair("--lost-start")
    after = {name: set(numbers) for name, numbers in revisions().items()}
    assert places["StudentModuleHistoryExtended"] == after["StudentModuleHistoryExtended"]
    assert after["StudentModuleHistory"] - places["StudentModuleHistory"] == {1}
    still = readable()
    assert still.keys() <= before.keys()
    assert len(lost()) + len(still) == row().revision
    closed = len(lost())
    assert_sound(closed)
    run("relay_history", "--once")
    assert set(revisions()) == {"StudentModuleHistory", "StudentModuleHistoryExtended"}
    assert len(lost()) == closed
    list(Backfill("default", 100, remove_source=True).pages())
    assert len(lost()) == closed
    assert len(run("check_history")) == 2


def test_a_type_that_was_recorded_later(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"RECORDED_BLOCK_TYPES": []}
    add_entries(client, 5)
    settings.XBLOCK_USER_STATE = {}
    add_entries(client, 3, start=10)
    assert repair("--late-start") == []
    damage(7)
    assert len(repair("--late-start")) == 2
    assert revisions() == {"StudentModuleHistory": [6, 7, 8]}
    assert run("check_history", "--late-start")[1:] == ["1 entries were lost and are closed off."]
    before, output = everything(), StringIO()
    with pytest.raises(CommandError, match=r"use --late-start .* repair_history --lost-start closes them off"):
        call_command("repair_history", stdout=output)
    assert "not repaired: revisions 1 to 5 are missing" in output.getvalue()
    assert everything() == before
    assert repair("--lost-start") == ["revisions 1 to 5 were missing; closed off"]
    assert_sound(6)


def test_a_type_that_was_recorded_later_and_never_changed_since(
    client: DjangoXBlockUserStateClient, settings: Settings
) -> None:
    settings.XBLOCK_USER_STATE = {"RECORDED_BLOCK_TYPES": []}
    add_entries(client, 5)
    settings.XBLOCK_USER_STATE = {}
    assert repair("--late-start") == []
    change_row(history_chain=2, history_checksum=checksum(5, str(row().state)))
    assert repair("--late-start") == ["the next entry will be a full one: revision 5 is missing"]
    acts = ["revisions 1 to 5 were missing; closed off", "revision 6 records the state: revision 5 is lost"]
    assert repair("--lost-start") == acts
    assert_sound(5)


def test_a_type_that_is_not_recorded_any_more(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    add_entries(client, 5)
    settings.XBLOCK_USER_STATE = {"RECORDED_BLOCK_TYPES": []}
    client.set("ann", BLOCK, {"number": 9})
    assert repair() == []
    damage(5)
    assert len(repair()) == 1
    assert revisions() == {"StudentModuleHistory": [1, 2, 3, 4, 5]}
    assert len(run("check_history")) == 2


def test_a_revision_that_no_history_can_reach_is_left(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 2)
    change_row(revision=2_000_000_000)
    output = StringIO()
    with pytest.raises(CommandError, match="1 rows still disagree with their history"):
        call_command("repair_history", stdout=output)
    assert "after revision 2: its revision is 2000000000" in output.getvalue()
    assert len(readable()) == 2


def test_faults_that_no_repair_mends_are_named(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    drop(2)
    Block.objects.all()._raw_delete("default")
    output = StringIO()
    with pytest.raises(CommandError, match="1 rows still disagree"):
        call_command("repair_history", stdout=output)
    assert "not repaired: its block is not registered" in output.getvalue()


def test_one_context_only(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    drop(2)
    with pytest.raises(CommandError, match="no learner has ever had state"):
        run("repair_history", "--context", "course-v1:Astro+B202+2072")
    assert len(repair("--context", str(BLOCK.context_key))) == 2
    # The newest entry was written anew, from the state.
    assert_sound(1)


def test_many_rows_go_by_pages(client: DjangoXBlockUserStateClient) -> None:
    blocks = make_blocks(250)
    for number in range(2):
        client.set_many("ann", {block: {"number": number} for block in blocks})
    StudentModuleHistory.objects.filter(revision=1)._raw_delete("default")
    lines = run("repair_history", "--lost-start", "--batch", "7")
    assert lines[-2:] == ["250 rows were checked; 250 were repaired.", "250 entries are lost, and closed off."]
    assert run("check_history")[-1] == "250 entries were lost and are closed off."


def test_an_interrupted_repair_is_completed_by_the_next(site: str, client: DjangoXBlockUserStateClient) -> None:
    blocks = make_blocks(5)
    for number in range(4):
        client.set_many("ann", {block: {"number": number} for block in blocks})
    entry_rows().filter(revision=2).update(encoding=99)
    StudentModule._base_manager.update(state=SQL_STATE)
    third = StudentModule._base_manager.order_by("pk")[2]
    entries = entry_rows().filter(block_id=third.block_id)
    before = [(entry.encoding, bytes(entry.body)) for entry in entries.order_by("revision")]
    with refusing("UPDATE", StudentModule, f"NEW.block_id = {third.block_id}"), pytest.raises(CommandError) as raised:
        run("repair_history")
    assert str(raised.value).startswith("interrupted after 2 rows: ")
    found = StudentModule._base_manager.order_by("pk").values_list("revision", flat=True)
    assert list(found) == [5, 5, 4, 4, 4]
    if site != "extended":
        # The entries of the extended history were repaired before the row.
        assert [(entry.encoding, bytes(entry.body)) for entry in entries.order_by("revision")] == before
    run("repair_history")
    assert list(found.all()) == [5] * 5
    assert len(run("check_history")) == 2


@TWO
def test_a_history_database_that_is_down(
    client: DjangoXBlockUserStateClient, settings: Settings, outage: Outage
) -> None:
    add_entries_to_every_store(settings, client)
    StudentModuleHistory.objects.filter(revision=1)._raw_delete("default")
    before = everything()
    with outage.lasts(), pytest.raises(CommandError, match=f"(?s)interrupted after 0 rows: .*{ALIAS}.*again"):
        run("repair_history")
    assert everything() == before
    repair("--lost-start")
    assert_sound(len(lost()))


@TWO
def test_a_crash_between_the_two_databases(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    """The extended history is repaired, and the state's transaction rolls back."""
    add_entries(client, 8)
    list(Backfill("default", 100).pages())
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True}
    for model, alias in list(stores("default"))[1:]:
        model._base_manager.using(alias).filter(revision=4).update(body=b"damaged")
    change_row(state=SQL_STATE)
    with refusing("UPDATE", StudentModule, "NEW.block_id = NEW.block_id"), pytest.raises(CommandError):
        run("repair_history")
    assert row().revision == 8
    assert extended_model()._base_manager.using(ALIAS).get(revision=4).encoding == LOST
    assert StudentModuleHistory.objects.get(revision=4).encoding == SPLICE
    repair()
    assert lost() == [4, 5, 6, 7, 8]
    assert row().revision == 9
    assert_sound(5)


@TWO
@pytest.mark.parametrize(
    "action",
    [
        lambda client: add_entries(client, 1, start=50),
        lambda client: StudentModule.objects.all().delete(),
        lambda client: [StudentModule.objects.all().delete(), client.set("ann", BLOCK, {"number": 60})],
        lambda client: call_command("relay_history", "--once", stdout=StringIO()),
        lambda client: list(Backfill("default", 100, remove_source=True).pages()),
    ],
    ids=["write", "delete", "begin anew", "ship", "back-fill"],
)
@pytest.mark.parametrize(
    "model", [StudentModule, HistoryOutbox, StudentModuleHistory], ids=lambda model: model.__name__
)
@pytest.mark.parametrize("is_damaged", [False, True], ids=["sound", "damaged"])
def test_the_site_may_run(
    client: DjangoXBlockUserStateClient,
    settings: Settings,
    model: type[Any],
    action: Callable[[DjangoXBlockUserStateClient], object],
    is_damaged: bool,
) -> None:
    add_entries_to_every_store(settings, client)
    if is_damaged:
        for store, alias in stores("default"):
            [first, *_] = store._base_manager.using(alias).order_by("revision")
            store._base_manager.using(alias).filter(revision=first.revision).update(body=b"damaged", encoding=FULL)
    with just_before("SELECT", model, lambda: on_another_connection(lambda: action(client))):
        lines = run("repair_history", "--batch", "4")
    assert is_damaged or _summary(lines) == 0
    run("check_history")


class Writer(Thread):
    """Counts up in some blocks, from another connection, until it is stopped."""

    def __init__(self, blocks: Sequence[Any]) -> None:
        super().__init__()
        self.blocks, self.stop = blocks, Event()
        self.written = 0
        self.errors: list[BaseException] = []

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.written += 1
                for block in self.blocks:
                    DjangoXBlockUserStateClient().set("ann", block, {"written": self.written})
        except BaseException as error:  # noqa: BLE001 (the test looks at it)
            self.errors.append(error)
        finally:
            connections.close_all()


@pytest.mark.parametrize("flags", [{}, pytest.param({"EXTENDED_HISTORY": True}, marks=TWO)], ids=["one", "two"])
def test_writers_run_meanwhile(client: DjangoXBlockUserStateClient, settings: Settings, flags: dict[str, Any]) -> None:
    settings.XBLOCK_USER_STATE = flags
    blocks = make_blocks(4)
    # The entries of the writer begin a chain of their own.
    for number in range(MAX_CHAIN):
        client.set_many("ann", {block: {"number": number} for block in blocks})
    model, alias = list(stores("default"))[2 if flags else 1]
    entries = model._base_manager.using(alias)
    writer = Writer(blocks)
    writer.start()
    try:
        for revision in range(3, MAX_CHAIN - 1, 7):
            entries.filter(revision=revision).update(body=b"damaged", encoding=FULL)
            entries.filter(revision=revision + 1)._raw_delete(alias)
            run("repair_history")
    finally:
        writer.stop.set()
        writer.join()
    assert writer.errors == []
    assert len(run("check_history")) == 2
    for block in blocks:
        assert client.get("ann", block, fields=["written"]).state == {"written": writer.written}
        found = [entry.state for entry in client.get_history("ann", block) if _is_readable(entry)]
        written = [state["written"] for state in found if state and "written" in state]
        # Nothing of the writer's is lost.
        assert written == list(range(writer.written, 0, -1))


def _is_readable(entry: HistoryEntry) -> bool:
    with suppress(DamagedHistory):
        return entry.state is not None
    return False


@TWO
def test_readers_and_exports_of_closed_entries(
    client: DjangoXBlockUserStateClient, settings: Settings, tmp_path: Any
) -> None:
    add_entries_to_every_store(settings, client)
    StudentModuleHistory._base_manager.filter(revision=6).update(body=b"damaged", encoding=FULL)
    extended_model()._base_manager.using(ALIAS).filter(revision=11)._raw_delete(ALIAS)
    repair()
    closed = lost()
    assert closed[0] == 6
    run("export_history", str(tmp_path / "export"))
    exported = {entry["revision"]: entry for entry in read_export(tmp_path / "export")}
    assert [revision for revision in sorted(exported) if "damaged" in exported[revision]] == closed
    assert "it was lost, and is closed off" in exported[6]["damaged"]
    for entry in StudentModuleHistory.get_history(StudentModule.objects.all()):
        if entry.revision in closed:
            with pytest.raises(DamagedHistory):
                _ = entry.state


def test_a_time_is_never_repaired(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 5)
    shift_times(entry_rows().filter(revision=2), "created", timedelta(days=1))
    assert repair() == []
    assert "times disagree" in run("check_history")[0]

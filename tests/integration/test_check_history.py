"""``manage.py check_history`` finds every violation of laws 3 and 9, and reports nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from threading import Thread
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models import QuerySet
from opaque_keys.edx.locator import CourseLocator
from pytest_django import Settings

from tests.factories import COURSE, make_block, make_blocks, make_learners
from tests.integration.histories import BLOCK, ESSAY, add_entries, add_entries_to_every_store, revisions
from tests.integration.interference import just_before, on_another_connection
from tests.integration.outage import ALIAS, Outage
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from tests.integration.rows import shift_times
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.conf import EXTENDED_HISTORY_APP
from xblock_user_state.history.encoding import DELTA, MAX_CHAIN, checksum, encode_compact
from xblock_user_state.history.entries import Owner, extended_model, stores
from xblock_user_state.maintenance.backfill import Backfill
from xblock_user_state.maintenance.paging import PAGE
from xblock_user_state.maintenance.verification import Verification
from xblock_user_state.models import BaseStudentModuleHistory, Block, HistoryOutbox, StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

CHANGED = "was changed by something else than the client after revision 5"
OTHER_COURSE = CourseLocator("Astro", "B202", "2027")
SECOND = timedelta(seconds=1)
TWO = pytest.mark.extended_history
SITES = {
    "plain": {"HISTORY_ENCODING": "plain"},
    "default": {},
    "extended": {"EXTENDED_HISTORY": True},
    "outbox": {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"},
}


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


def history() -> QuerySet[BaseStudentModuleHistory]:
    """Return the entries of the one store that has any."""
    [rows] = [rows for model, alias in stores("default") if (rows := model._base_manager.using(alias)).exists()]
    return rows


def check(*arguments: str) -> str:
    output = StringIO()
    call_command("check_history", *arguments, stdout=output)
    return output.getvalue()


def failed_check(*arguments: str) -> tuple[list[str], str]:
    """Return the output lines of a check that finds faults, and its error."""
    output = StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("check_history", *arguments, stdout=output)
    assert raised.value.returncode == 1
    return output.getvalue().splitlines(), str(raised.value)


def reported_faults(*arguments: str) -> list[str]:
    """Return the reported faults, without the names; all must be about Ann's history in the block."""
    *lines, _ = failed_check(*arguments)[0]
    assert all(line.startswith("learner ") and " (ann), block " in line and f" ({BLOCK}): " in line for line in lines)
    return [line.partition(f" ({BLOCK}): ")[2] for line in lines]


@pytest.mark.parametrize("text", ["block-v1:A+B+C+type@prob+lem+block@a", "ccx-block-v1:A+B+C+type@problem+block@a"])
def test_a_key_that_cant_be_read_is_named(client: DjangoXBlockUserStateClient, text: str) -> None:
    client.set("ann", BLOCK, {"a": 1})
    Block.objects.update(usage_key=text)
    with pytest.raises(CommandError):
        check()
    [(_, fault)] = [fault for page in Verification("default").pages() for fault in page.faults]
    assert "iterations leave out its block" in fault
    assert text in fault


def test_a_sound_site(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, MAX_CHAIN + 3)
    client.set_score("ann", BLOCK, 1, 2)
    client.delete("ann", BLOCK)
    client.set_many("bob", {key: {"a": 1} for key in make_blocks(300)})
    client.set("bob", make_block("film", "video"), {"position": 1})
    client.set_score("bob", make_block("scored"), 1, 2)
    client.set_score("bob", make_block("scored"), 2, 2)
    assert check() == f"303 rows with {MAX_CHAIN + 7 + 300} entries were checked.\n"
    assert check("--context", str(COURSE)) == check()


@TWO
@pytest.mark.parametrize("batch", ["1", "3", "250"])
def test_a_sound_site_of_all_encodings_in_all_stores(
    client: DjangoXBlockUserStateClient, settings: Settings, batch: str
) -> None:
    add_entries_to_every_store(settings, client)
    add_entries_to_every_store(settings, client, "bob")
    assert len(revisions()) == 3
    assert check("--batch", batch) == "2 rows with 48 entries were checked.\n"
    # A back-fill that has copied a part, and removed a part of that.
    next(Backfill("default", 10).pages())
    next(Backfill("default", 5, remove_source=True).pages())
    assert check("--batch", batch) == "2 rows with 48 entries were checked.\n"


def test_an_entry_that_is_missing(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 5)
    history().filter(revision=3).delete()
    missing, *damaged = sorted(reported_faults())
    assert missing == "revision 3 is missing"
    reasons = [] if site == "plain" else ["on revision 3, which is missing", "revision 5 can't be read: it builds on"]
    assert all(reason in fault for reason, fault in zip(reasons, damaged, strict=True))


def test_entries_that_are_missing_at_the_ends(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 5)
    history().filter(revision__in=[1, 2, 5]).delete()
    assert {"revisions 1 to 2 are missing", "revision 5 is missing"} <= {*reported_faults()}


def test_a_row_without_history(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 5)
    history().all().delete()
    assert reported_faults() == ["revisions 1 to 5 are missing"]
    advice = (
        "1 rows disagree with their history: run repair_history --dry-run. The first revisions of 1 rows are missing"
    )
    assert failed_check()[1].startswith(f"{advice}: if their block type was recorded late, use --late-start with ")


@pytest.mark.parametrize("text", ["garbage", "[1,2]", "7", "", '{"number": 1'])
def test_a_state_that_is_no_json_object(site: str, client: DjangoXBlockUserStateClient, text: str) -> None:
    add_entries(client, 2)
    StudentModule._base_manager.update(state=text)
    [fault] = reported_faults()
    assert fault.startswith("the state can't be read, so something else than the client wrote it; set or delete it")
    assert ("it is not a JSON object" if text in {"[1,2]", "7"} else "it is not JSON: ") in fault


@pytest.mark.parametrize("revision", [3, 7])
def test_a_revision_that_something_else_has_raised(
    site: str, client: DjangoXBlockUserStateClient, revision: int
) -> None:
    add_entries(client, 2)
    StudentModule._base_manager.update(state='{"number":9}', revision=revision)
    assert reported_faults() == [f"the state {CHANGED[:-1]}2: its revision is {revision}"]


def test_causes_come_before_their_consequences(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 5)
    history().filter(revision=3).delete()
    assert reported_faults()[0] == "revision 3 is missing"


def test_entries_without_a_row(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 2)
    StudentModule.objects.all()._raw_delete("default")
    assert [text.partition(" in the ")[0] for text in reported_faults()] == ["revisions 1 to 2"]
    lines, error = failed_check()
    assert lines[0].endswith(" belong to no state; run sweep_history")
    assert error == "2 entries belong to no state: run sweep_history."


def test_a_row_that_was_restored(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 2)
    before = StudentModule.objects.get()
    add_entries(client, 2, start=10)
    StudentModule.objects.all()._raw_delete("default")
    StudentModule._base_manager.bulk_create([before])
    fault = "the state was restored, or changed by something else than the client"
    assert reported_faults() == [f"{fault}: its revision is 2, and its history goes to 4"]
    assert failed_check()[1] == "1 rows disagree with their history: run repair_history --dry-run."


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"state": '{"number":9}'}, f"the state {CHANGED}"),
        ({"state": None}, f"the state {CHANGED}"),
        ({"grade": 0.5}, f"the score {CHANGED}"),
        ({"max_grade": 0.5}, f"the score {CHANGED}"),
        ({"history_checksum": 7}, "the state's history_checksum is not that of revision 5"),
    ],
    ids=["state", "no state", "grade", "max grade", "checksum"],
)
def test_a_row_that_is_not_as_its_newest_entry(
    site: str, client: DjangoXBlockUserStateClient, change: dict[str, Any], fault: str
) -> None:
    add_entries(client, 5)
    StudentModule._base_manager.update(**change)
    assert reported_faults() == [fault]


def test_a_chain_that_is_not_as_the_row_says(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 5)
    StudentModule._base_manager.update(history_chain=0)
    assert check() == "1 rows with 5 entries were checked.\n"
    for chain in (1, 4, 6):
        StudentModule._base_manager.update(history_chain=chain)
        assert reported_faults() == [f"revision 5 is number 5 of its chain, and the state's history_chain is {chain}"]


def test_a_chain_that_is_longer_than_readers_look(client: DjangoXBlockUserStateClient) -> None:
    texts: list[str | None] = [None]
    for number in range(MAX_CHAIN + 1):
        add_entries(client, 1, start=number)
        texts.append(StudentModule.objects.get().state)
        encoding, body = encode_compact(texts[-1], texts[-2])
        StudentModuleHistory._base_manager.filter(revision=number + 1).update(encoding=encoding, body=body)
    StudentModule._base_manager.update(history_chain=0)
    assert reported_faults() == ["revision 33 builds on 32 others; readers decode at most 31"]


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda: shift_times(StudentModule._base_manager.all(), "modified", SECOND), "another time than the state"),
        (lambda: shift_times(StudentModule._base_manager.all(), "modified", -SECOND), "another time than the state"),
        (lambda: shift_times(history().filter(revision=2), "created", SECOND), "3 is earlier than revision 2"),
    ],
    ids=["later state", "earlier state", "order"],
)
def test_times_that_disagree_are_no_fault(
    site: str, client: DjangoXBlockUserStateClient, change: Callable[[], object], note: str
) -> None:
    add_entries(client, 5)
    change()
    line, *summary = check().splitlines()
    assert ": times disagree: revision " in line
    assert line.endswith(note)
    assert summary == [
        "1 rows with 5 entries were checked.",
        "1 rows have times that disagree; revisions decide, so that is no fault.",
    ]


def test_times_within_a_millisecond_are_the_same(site: str, client: DjangoXBlockUserStateClient) -> None:
    """As JSON fixtures cut them: all revisions at one time, and the state a little later or earlier."""
    add_entries(client, 5)
    time = history().get(revision=5).created
    history().update(created=time)
    for change in (999, -999):
        StudentModule._base_manager.update(modified=time + timedelta(microseconds=change))
        assert check() == "1 rows with 5 entries were checked.\n"


def test_a_row_that_began_after_its_history(site: str, client: DjangoXBlockUserStateClient) -> None:
    """As in the hour that comes twice, and after fixtures: no entry is an orphan for its time."""
    add_entries(client, 3)
    StudentModule._base_manager.update(created=StudentModule.objects.get().modified + SECOND)
    assert check() == "1 rows with 3 entries were checked.\n"


def test_a_delta_that_changed_nothing(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    row = StudentModule.objects.get()
    encoding, body = encode_compact(row.state, row.state)
    entry = StudentModuleHistory(
        student_id=row.student_id,
        block_id=row.block_id,
        revision=4,
        created=row.modified,
        encoding=encoding,
        body=body,
    )
    entry.save_base(raw=True, force_insert=True)
    StudentModule._base_manager.update(revision=4, history_chain=4, history_checksum=None)
    assert reported_faults() == ["revision 4 changed nothing"]


def test_an_entry_after_a_change_by_a_stranger_may_be_like_the_one_before(
    site: str, client: DjangoXBlockUserStateClient
) -> None:
    add_entries(client, 3)
    text = StudentModule.objects.get().state
    StudentModule._base_manager.update(state="{}")
    assert reported_faults() == ["the state was changed by something else than the client after revision 3"]
    add_entries(client, 1, start=2)
    assert StudentModule.objects.get().state == text
    assert check() == "1 rows with 4 entries were checked.\n"


@pytest.mark.parametrize("body", [b"damaged", b"", None], ids=repr)
def test_a_damaged_entry_and_those_that_build_on_it(client: DjangoXBlockUserStateClient, body: bytes | None) -> None:
    add_entries(client, MAX_CHAIN + 2)
    history().filter(revision=30).update(body=body)
    first, *others = [fault.removesuffix(" (in the default history)") for fault in reported_faults()]
    assert first.startswith("revision 30 can't be read: ")
    assert others == ["revisions 31 to 32 can't be read: they build on revision 30"]


def test_entries_that_build_on_a_damaged_one_are_one_line_for_each_damaged_entry(
    client: DjangoXBlockUserStateClient,
) -> None:
    add_entries(client, 2 * MAX_CHAIN + 3)
    # Nobody can tell whether revision 40 is damaged too: it can't be decoded without revision 33.
    history().filter(revision__in=[10, MAX_CHAIN + 1, 40]).update(body=b"damaged")
    found = [fault.removesuffix(" (in the default history)") for fault in reported_faults()]
    assert [fault for fault in found if "build on" in fault] == [
        "revisions 11 to 32 can't be read: they build on revision 10",
        "revisions 34 to 64 can't be read: they build on revision 33",
    ]
    assert len(found) == 4


@pytest.mark.parametrize("text", ['{"number": 1', "", "\x00" * 20, '["a list"]'], ids=repr)
def test_a_plain_entry_that_is_no_state(client: DjangoXBlockUserStateClient, settings: Settings, text: str) -> None:
    add_entries(client, 1)
    settings.XBLOCK_USER_STATE = SITES["plain"]
    add_entries(client, 1, start=1)
    settings.XBLOCK_USER_STATE = {}
    add_entries(client, 2, start=2)
    history().filter(revision=2).update(body=text.encode())
    first, *others = [fault.removesuffix(" (in the default history)") for fault in reported_faults()]
    assert first.startswith("revision 2 can't be read: it is not ")
    assert others == ["revisions 3 to 4 can't be read: they build on revision 2"]


def test_an_encoding_that_nobody_knows(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 1)
    history().update(encoding=99)
    [fault] = reported_faults()
    assert fault.startswith("revision 1 can't be read: it has the encoding 99, which this version does not know")


COPY_CHANGES: dict[str, dict[str, Any]] = {
    "text": {"encoding": 0, "body": b'{"number":99}'},
    "grade": {"grade": 7},
    "max_grade": {"max_grade": 7},
    "actor": {"actor_id": 7},
}


@TWO
@pytest.mark.parametrize("change", [*COPY_CHANGES, "created"])
@pytest.mark.parametrize("model", ["default", "extended"])
def test_copies_that_differ(client: DjangoXBlockUserStateClient, change: str, model: str) -> None:
    add_entries(client, 3)
    list(Backfill("default", 100).pages())
    assert check() == "1 rows with 3 entries were checked.\n"
    copies = StudentModuleHistory._base_manager if model == "default" else extended_model()._base_manager.using(ALIAS)
    if change == "created":
        shift_times(copies.filter(revision=2), "created", timedelta(milliseconds=1))
    else:
        copies.filter(revision=2).update(**COPY_CHANGES[change])
    assert "revision 2 is in 2 stores, and is not the same in all of them" in reported_faults()


@TWO
@pytest.mark.parametrize("batch", ["2", "250"])
def test_a_copy_that_is_damaged(client: DjangoXBlockUserStateClient, batch: str) -> None:
    """The entries that build on it are decoded with the intact copy."""
    add_entries(client, 3)
    list(Backfill("default", 100).pages())
    StudentModuleHistory._base_manager.filter(revision=2).update(body=b"damaged")
    [fault] = reported_faults("--batch", batch)
    assert fault.startswith("revision 2 can't be read: ")
    assert fault.endswith(" (in the default history)")


@TWO
@pytest.mark.parametrize("batch", ["1", "250"])
def test_what_a_tombstone_buries_is_no_history(
    client: DjangoXBlockUserStateClient, settings: Settings, batch: str
) -> None:
    settings.XBLOCK_USER_STATE = SITES["extended"]
    add_entries(client, 5)
    settings.XBLOCK_USER_STATE = SITES["outbox"]
    StudentModule.objects.all().delete()
    assert check("--batch", batch) == "0 rows with 0 entries were checked.\n"
    add_entries(client, 3)
    assert revisions() == {"HistoryOutbox": [0, 1, 2, 3], "StudentModuleHistoryExtended": [1, 2, 3, 4, 5]}
    assert check("--batch", batch) == "1 rows with 3 entries were checked.\n"


@TWO
def test_history_that_the_flags_hide_is_told_of(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    add_entries(client, 5)
    next(Backfill("default", 2).pages())
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "READ_MULTIPLE_HISTORIES": False}
    assert check() == (
        "1 rows with 5 entries were checked.\n3 of the entries are hidden from readers, as the settings say.\n"
    )


@TWO
@pytest.mark.parametrize("arguments", [[], ["--context", str(COURSE)]], ids=["all of it", "one context"])
def test_history_that_waits_for_a_database_that_was_taken_out(
    client: DjangoXBlockUserStateClient, settings: Settings, arguments: list[str]
) -> None:
    settings.XBLOCK_USER_STATE = SITES["outbox"]
    add_entries(client, 3)
    settings.XBLOCK_USER_STATE = {}
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != EXTENDED_HISTORY_APP]
    add_entries(client, 1, start=3)
    # It builds on an entry in the outbox.
    assert [(entry.state or {})["number"] for entry in client.get_history("ann", BLOCK)] == [3]
    lines, error = failed_check(*arguments)
    assert lines == [
        "1 rows with 4 entries were checked.",
        "3 of the entries are hidden from readers, as the settings say.",
    ]
    assert error.startswith("3 entries wait in the outbox, and there is no extended history: add ")


@TWO
@pytest.mark.parametrize("arguments", [[], ["--context", str(COURSE)]], ids=["all", "context"])
def test_a_history_database_that_is_down(
    client: DjangoXBlockUserStateClient, outage: Outage, arguments: list[str]
) -> None:
    add_entries(client, 5)
    with outage.lasts():
        lines, error = failed_check(*arguments)
    assert lines == []
    assert error.startswith(f"interrupted after 0 rows: the database '{ALIAS}' can't serve")


def test_a_type_that_was_recorded_later(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"RECORDED_BLOCK_TYPES": []}
    add_entries(client, 5)
    assert check() == "1 rows with 0 entries were checked.\n"
    settings.XBLOCK_USER_STATE = {}
    assert reported_faults() == ["revisions 1 to 5 are missing"]
    assert check("--late-start") == "1 rows with 0 entries were checked.\n"
    add_entries(client, 3, start=10)
    assert reported_faults() == ["revisions 1 to 5 are missing"]
    assert check("--late-start") == "1 rows with 3 entries were checked.\n"
    StudentModuleHistory.objects.filter(revision=7).delete()
    assert "revision 7 is missing" in reported_faults("--late-start")
    StudentModuleHistory.objects.all().delete()
    assert reported_faults("--late-start") == ["the next entry may build on revision 8, which is missing"]


def test_a_type_that_is_not_recorded_any_more(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    add_entries(client, 5)
    settings.XBLOCK_USER_STATE = {"RECORDED_BLOCK_TYPES": []}
    client.set("ann", BLOCK, {"number": 9})
    assert check() == "1 rows with 5 entries were checked.\n"
    # The next write would build a delta on a missing entry.
    row = StudentModule.objects.get()
    StudentModule._base_manager.update(history_chain=1, history_checksum=checksum(6, str(row.state)))
    assert reported_faults() == ["the next entry may build on revision 6, which is missing"]
    # The entries that exist must be sound.
    StudentModule._base_manager.update(history_chain=0)
    StudentModuleHistory._base_manager.filter(revision=5).update(body=b"damaged")
    assert "revision 5 can't be read" in reported_faults()[0]


def test_a_row_whose_block_is_not_registered(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 2)
    Block.objects.all()._raw_delete("default")
    lines, _ = failed_check()
    assert lines[0].endswith("(not registered): its block is not registered, so nobody can tell whether it is recorded")


def test_one_context_only(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 2)
    client.set("ann", make_block("moon", course=OTHER_COURSE), {"a": 1})
    StudentModuleHistory.objects.filter(revision=2).delete()
    assert check("--context", str(OTHER_COURSE)) == "1 rows with 1 entries were checked.\n"
    assert reported_faults("--context", str(COURSE)) == ["revision 2 is missing"]
    with pytest.raises(CommandError, match="is not a course or library key"):
        check("--context", "nonsense")
    with pytest.raises(CommandError, match=r"no learner has ever had state in 'course-v1:Astro\+B202\+2072'"):
        check("--context", str(OTHER_COURSE).replace("2027", "2072"))


def test_all_faults_are_named(client: DjangoXBlockUserStateClient) -> None:
    client.set_many("ann", {block: {"a": 1} for block in make_blocks(150)})
    StudentModuleHistory.objects.all().delete()
    *lines, total = failed_check()[0]
    assert len(lines) == 150
    assert total == "150 rows with 0 entries were checked."


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
def test_what_changes_meanwhile_is_no_fault(
    client: DjangoXBlockUserStateClient,
    settings: Settings,
    model: type[StudentModule | BaseStudentModuleHistory],
    action: Callable[[DjangoXBlockUserStateClient], object],
) -> None:
    add_entries_to_every_store(settings, client)
    with just_before("SELECT", model, lambda: on_another_connection(lambda: action(client))):
        assert " rows with " in check("--batch", "4")


def test_nobody_writes_during_the_second_look(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    [owner] = [Owner(*pk) for pk in StudentModule.objects.values_list("student_id", "block_id")]

    def write() -> None:
        client.set("ann", BLOCK, {"number": 9})
        connections.close_all()

    writer = Thread(target=write)

    def is_kept_waiting() -> None:
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()

    with just_before("SELECT", StudentModuleHistory, is_kept_waiting):
        history = Verification("default")._verify_locked(owner)
    writer.join()
    assert history is not None
    assert (history.faults, history.entries) == ([], 3)
    assert check() == "1 rows with 4 entries were checked.\n"


def test_statements_go_by_pages(client: DjangoXBlockUserStateClient) -> None:
    counts = []
    for number in (10, PAGE // 2):
        client.set_many("ann", {block: {"essay": ESSAY, "number": number} for block in make_blocks(number)})
        with captured() as statements:
            check("--batch", "10000")
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_the_command_changes_nothing(site: str, client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 5)
    history().filter(revision=3).update(body=b"damaged", encoding=DELTA)

    def everything() -> list[Any]:
        tables: list[tuple[Any, str]] = [(StudentModule, "default"), *stores("default")]
        rows = [model._base_manager.using(alias).order_by("pk").values_list() for model, alias in tables]
        return [
            tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
            for of_table in rows
            for row in of_table
        ]

    before = everything()
    failed_check()
    assert everything() == before

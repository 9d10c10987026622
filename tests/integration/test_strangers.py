"""Rows that SQL or a restored backup changed: the next write succeeds at once, and every entry stays readable."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from pytest_django import Settings

from tests.factories import make_block, make_learners
from tests.integration.histories import BLOCK, add_entries
from tests.integration.shipping import relay
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.encoding import FULL, MAX_CHAIN, SPLICE
from xblock_user_state.history.entries import COLUMNS, extended_model, stores
from xblock_user_state.interface import HistoryEntry
from xblock_user_state.models import BaseStudentModuleHistory, HistoryOutbox, StudentModule, StudentModuleHistory
from xblock_user_state.store import transactions

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
TWO = pytest.mark.extended_history
ALIAS = "student_module_history"

EXTENDED = {"EXTENDED_HISTORY": True}
BY_RELAY = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
in_every_store = pytest.mark.parametrize(
    "flags",
    [{}, pytest.param(EXTENDED, marks=TWO), pytest.param(BY_RELAY, marks=TWO)],
    ids=["default", "extended", "outbox"],
)
shipped_later = pytest.mark.parametrize(
    "flags", [pytest.param(EXTENDED, marks=TWO), pytest.param(BY_RELAY, marks=TWO)], ids=["at_once", "by_relay"]
)


@pytest.fixture
def client(settings: Settings, flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> DjangoXBlockUserStateClient:
    settings.XBLOCK_USER_STATE = flags
    make_learners("ann", "bob")
    # A write that never fits fails soon.
    monkeypatch.setattr(transactions, "MAX_ATTEMPTS", 5)
    monkeypatch.setattr(transactions, "MAX_ATTEMPTS_OF_CALLERS", 5)
    return DjangoXBlockUserStateClient()


def row() -> StudentModule:
    return StudentModule.objects.get(student__username="ann")


def change_by_sql(**columns: Any) -> None:
    """Change the row of the learner, as SQL does."""
    StudentModule._base_manager.filter(student__username="ann").update(**columns)


def encodings() -> dict[int, int]:
    """Return the encoding of each revision that a store has."""
    return {
        entry.revision: entry.encoding
        for model, alias in stores("default")
        for entry in model._base_manager.using(alias).filter(revision__gt=0)
    }


def history() -> list[HistoryEntry]:
    """Return the history, oldest first. Raises if an entry can't be read."""
    return list(DjangoXBlockUserStateClient().get_history("ann", BLOCK))[::-1]


def numbers() -> list[Any]:
    """Return the field ``number`` of each revision, and check that the revisions have no gap."""
    entries = history()
    assert [entry.revision for entry in entries] == [*range(1, len(entries) + 1)]
    return [(entry.state or {}).get("number") for entry in entries]


def restore(change: Callable[[], object]) -> None:
    """Run `change` and ship its entries, then give the row and the outbox the values from before, as a backup does."""
    before = [
        (model, list(model._base_manager.filter(student__username="ann"))) for model in (StudentModule, HistoryOutbox)
    ]
    change()
    relay_if_needed()
    for model, rows in before:
        model._base_manager.filter(student__username="ann")._raw_delete("default")
        for each in rows:
            each.save_base(raw=True, force_insert=True)


@in_every_store
def test_no_entry_is_lost_after_a_change_by_sql(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    change_by_sql(state='{"number": 0}')

    # A client of a later request: this one may still have the row in its cache.
    add_entries(DjangoXBlockUserStateClient(), 2 * MAX_CHAIN, start=100)

    assert numbers() == [0, 1, 2, *range(100, 100 + 2 * MAX_CHAIN)]
    assert encodings()[4] == FULL
    assert encodings()[5] == SPLICE


@in_every_store
def test_the_fields_of_a_stranger_stay(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    change_by_sql(state='{"stranger": true}')

    DjangoXBlockUserStateClient().set("ann", BLOCK, {"number": 7})

    assert history()[-1].state == {"stranger": True, "number": 7}


@in_every_store
def test_a_change_of_the_score_by_sql_breaks_no_chain(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    change_by_sql(grade=1.0, max_grade=2.0)

    add_entries(DjangoXBlockUserStateClient(), 1, start=3)

    assert encodings()[4] == SPLICE
    assert numbers() == [0, 1, 2, 3]


@in_every_store
def test_a_state_that_sql_has_removed(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    change_by_sql(state=None)

    add_entries(DjangoXBlockUserStateClient(), 2, start=3)

    assert encodings()[4] == FULL
    assert numbers() == [0, 1, 2, 3, 4]


@in_every_store
def test_a_row_of_an_earlier_version_begins_with_a_full_entry(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    change_by_sql(history_checksum=None)

    add_entries(DjangoXBlockUserStateClient(), 2, start=3)

    assert [encodings()[revision] for revision in (3, 4, 5)] == [SPLICE, FULL, SPLICE]
    assert numbers() == [0, 1, 2, 3, 4]


@in_every_store
@pytest.mark.parametrize("in_callers", [False, True], ids=["own", "callers"])
def test_a_restored_row_continues_after_its_history(client: DjangoXBlockUserStateClient, in_callers: bool) -> None:
    add_entries(client, 3)
    restore(lambda: add_entries(client, 3, start=3))
    assert row().revision == 3

    again = DjangoXBlockUserStateClient()
    if in_callers:
        with transaction.atomic():
            add_entries(again, 1, start=10)
    else:
        add_entries(again, 1, start=10)
    relay_if_needed()

    assert numbers() == [0, 1, 2, 3, 4, 5, 10]
    assert row().revision == 7
    # It builds on no entry of the other life.
    assert encodings()[7] == FULL
    add_entries(again, 2, start=11)
    relay_if_needed()
    assert numbers() == [0, 1, 2, 3, 4, 5, 10, 11, 12]


@in_every_store
def test_a_row_that_sql_has_deleted_continues_after_its_history(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    StudentModule._base_manager.filter(student__username="ann")._raw_delete("default")

    add_entries(DjangoXBlockUserStateClient(), 2, start=10)
    relay_if_needed()

    assert numbers() == [0, 1, 2, 10, 11]
    assert row().revision == 5


@in_every_store
def test_a_revision_that_sql_has_lowered(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 5)
    change_by_sql(revision=2)

    add_entries(DjangoXBlockUserStateClient(), 2, start=5)
    relay_if_needed()

    assert numbers() == [0, 1, 2, 3, 4, 5, 6]


@in_every_store
def test_a_revision_that_sql_has_raised(client: DjangoXBlockUserStateClient) -> None:
    """The revisions in between are missing; no entry may build on them."""
    add_entries(client, 5)
    change_by_sql(revision=9)

    add_entries(DjangoXBlockUserStateClient(), 2, start=5)

    assert [(entry.revision, (entry.state or {})["number"]) for entry in history()] == [
        *((number + 1, number) for number in range(5)),
        (10, 5),
        (11, 6),
    ]


@in_every_store
def test_a_client_that_has_read_the_row_keeps_a_change_that_raised_the_revision(
    client: DjangoXBlockUserStateClient,
) -> None:
    add_entries(client, 3)
    known = client.get("ann", BLOCK).revision
    change_by_sql(revision=4, state='{"stranger": true}')

    with pytest.raises(client.Conflict):
        client.set("ann", BLOCK, {"number": 7}, if_revision=known)
    client.set("ann", BLOCK, {"number": 7})

    assert client.get("ann", BLOCK).state == {"stranger": True, "number": 7}


@in_every_store
def test_a_batch_raises_only_the_rows_that_are_behind(client: DjangoXBlockUserStateClient) -> None:
    other = make_block("other")
    client.set("ann", other, {"number": 0})
    add_entries(client, 3)
    restore(lambda: add_entries(client, 3, start=3))

    DjangoXBlockUserStateClient().set_many("ann", {BLOCK: {"number": 9}, other: {"number": 1}})
    relay_if_needed()

    assert numbers() == [0, 1, 2, 3, 4, 5, 9]
    assert [entry.revision for entry in client.get_history("ann", other)] == [2, 1]


@in_every_store
def test_a_condition_names_the_revision_of_the_restored_row(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    restore(lambda: add_entries(client, 3, start=3))

    again = DjangoXBlockUserStateClient()
    again.set("ann", BLOCK, {"number": 9}, if_revision=again.get("ann", BLOCK).revision)
    relay_if_needed()

    assert numbers() == [0, 1, 2, 3, 4, 5, 9]


@in_every_store
def test_times_rise_after_a_restore(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    restore(lambda: add_entries(client, 3, start=3))
    add_entries(DjangoXBlockUserStateClient(), 2, start=6)
    relay_if_needed()

    times = [entry.updated for entry in history()]

    assert times == sorted(set(times))


@shipped_later
def test_readers_see_both_lives_before_the_relay_does(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    relay_if_needed()
    restore(lambda: add_entries(client, 3, start=3))

    add_entries(DjangoXBlockUserStateClient(), 2, start=10)

    assert numbers() == [0, 1, 2, 3, 4, 5, 10, 11]
    relay_if_needed()
    assert numbers() == [0, 1, 2, 3, 4, 5, 10, 11]


@in_every_store
def test_the_history_is_sound_after_a_restore_and_a_write(client: DjangoXBlockUserStateClient) -> None:
    add_entries(client, 3)
    restore(lambda: add_entries(client, 3, start=3))
    add_entries(DjangoXBlockUserStateClient(), 1, start=6)
    relay_if_needed()

    call_command("check_history", stdout=StringIO())


@shipped_later
@pytest.mark.parametrize("way", ["deleted", "lowered"])
def test_the_default_history_has_the_life_before(
    client: DjangoXBlockUserStateClient, settings: Settings, flags: dict[str, Any], way: str
) -> None:
    settings.XBLOCK_USER_STATE = {}
    add_entries(client, 3)
    if way == "deleted":
        StudentModule._base_manager.all()._raw_delete("default")
    else:
        change_by_sql(revision=1)
    settings.XBLOCK_USER_STATE = flags

    add_entries(DjangoXBlockUserStateClient(), 2, start=10)

    assert numbers() == [0, 1, 2, 10, 11]
    relay_if_needed()
    assert numbers() == [0, 1, 2, 10, 11]
    assert row().revision == 5
    call_command("check_history", stdout=StringIO())


@TWO
@pytest.mark.parametrize("flags", [EXTENDED])
def test_the_relay_keeps_the_life_in_the_default_history(
    client: DjangoXBlockUserStateClient, settings: Settings
) -> None:
    settings.XBLOCK_USER_STATE = {}
    add_entries(client, 3)
    StudentModule._base_manager.all()._raw_delete("default")
    settings.XBLOCK_USER_STATE = BY_RELAY
    add_entries(DjangoXBlockUserStateClient(), 2, start=10)

    relay()

    assert numbers() == [0, 1, 2, 10, 11]


@TWO
@pytest.mark.parametrize("flags", [EXTENDED])
def test_the_extended_history_has_the_life_before(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    add_entries(client, 3)
    StudentModule._base_manager.all()._raw_delete("default")
    settings.XBLOCK_USER_STATE = {}

    add_entries(DjangoXBlockUserStateClient(), 2, start=10)

    assert numbers() == [0, 1, 2, 10, 11]
    assert row().revision == 5
    add_entries(DjangoXBlockUserStateClient(), 1, start=12)
    call_command("check_history", stdout=StringIO())


@TWO
@pytest.mark.parametrize("flags", [EXTENDED])
def test_entries_of_the_life_before_still_wait(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    add_entries(client, 3)
    settings.XBLOCK_USER_STATE = BY_RELAY
    add_entries(client, 2, start=3)
    StudentModule._base_manager.all()._raw_delete("default")

    add_entries(DjangoXBlockUserStateClient(), 2, start=10)

    assert numbers() == [0, 1, 2, 3, 4, 10, 11]
    relay()
    assert numbers() == [0, 1, 2, 3, 4, 10, 11]
    call_command("check_history", stdout=StringIO())


@TWO
@pytest.mark.parametrize("flags", [{}])
@pytest.mark.parametrize("store", [HistoryOutbox, StudentModuleHistory])
def test_a_damaged_copy_is_no_other_life(
    client: DjangoXBlockUserStateClient, settings: Settings, store: type[BaseStudentModuleHistory]
) -> None:
    add_entries(client, 5)
    alias = "default" if store is HistoryOutbox else ALIAS
    model = store if store is HistoryOutbox else extended_model()
    entries = StudentModuleHistory._base_manager.all()
    model._base_manager.using(alias).bulk_create(model(**values) for values in entries.values(*COLUMNS))
    entries.filter(revision=3).update(body=b"damaged")

    for flags in ({}, BY_RELAY):
        settings.XBLOCK_USER_STATE = flags
        assert [entry.revision for entry in history()] == [1, 2, 3, 4, 5]
    relay()

    assert not HistoryOutbox.objects.exists()
    assert row().revision == 5


@TWO
@pytest.mark.parametrize("flags", [EXTENDED])
def test_a_reader_in_a_read_only_transaction_raises_nothing(
    client: DjangoXBlockUserStateClient, settings: Settings
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no read-only transactions")
    add_entries(client, 3)
    StudentModule._base_manager.all()._raw_delete("default")
    settings.XBLOCK_USER_STATE = BY_RELAY
    add_entries(DjangoXBlockUserStateClient(), 2, start=10)
    with connection.cursor() as cursor:
        # MariaDB sets the next transaction, PostgreSQL the present one.
        if connection.vendor == "mysql":
            cursor.execute("SET TRANSACTION READ ONLY")
        with transaction.atomic():
            if connection.vendor == "postgresql":
                cursor.execute("SET TRANSACTION READ ONLY")
            assert list(DjangoXBlockUserStateClient().get_history("ann", BLOCK, limit=1))
            assert row().revision

    assert numbers() == [0, 1, 2, 10, 11]


@TWO
@pytest.mark.parametrize("flags", [{}])
def test_relays_readers_and_a_writer_settle_at_once(client: DjangoXBlockUserStateClient, settings: Settings) -> None:
    lives = 3
    for life in range(lives):
        settings.XBLOCK_USER_STATE = EXTENDED if life % 2 else {}
        add_entries(DjangoXBlockUserStateClient(), 3, start=100 * life)
        StudentModule._base_manager.all()._raw_delete("default")
        settings.XBLOCK_USER_STATE = BY_RELAY
        add_entries(DjangoXBlockUserStateClient(), 2, start=100 * life + 3)
        with ThreadPoolExecutor(5) as threads:
            work = [partial(in_thread, each) for each in (relay, relay, history, history)]
            write = partial(add_entries, DjangoXBlockUserStateClient(), 5, start=100 * life + 5)
            for future in [threads.submit(each) for each in (*work, partial(in_thread, write))]:
                future.result()

    assert numbers() == [100 * life + number for life in range(lives) for number in range(10)]
    relay()
    assert numbers() == [100 * life + number for life in range(lives) for number in range(10)]


def in_thread(work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        connections.close_all()


def relay_if_needed() -> None:
    if HistoryOutbox.objects.exists():
        relay()

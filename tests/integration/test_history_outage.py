"""Outage of the history database: writes commit, no entry is lost, readers see the outbox, and it recovers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from pytest_django import Settings

from tests import citus
from tests.factories import make_block, make_blocks, make_learners
from tests.integration.histories import ESSAY
from tests.integration.interference import just_before, kill_connection, needs_a_server, on_another_connection, refusing
from tests.integration.outage import ALIAS, STRANGER, Outage
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import TOMBSTONE, extended_model
from xblock_user_state.history.outbox import shipping
from xblock_user_state.history.outbox.breaker import RETRY_SECONDS, WARN_SECONDS
from xblock_user_state.interface import DoesNotExist, ServiceUnavailable
from xblock_user_state.models import HistoryOutbox, StudentModule, StudentModuleHistory
from xblock_user_state.state.keys import identify_block

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", ALIAS]),
]

BLOCK = make_block()
OTHER = make_block("planets")


@pytest.fixture(autouse=True)
def _learners(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True}
    make_learners("ann", "bob")


@pytest.fixture
def client(outage: Outage) -> DjangoXBlockUserStateClient:
    return DjangoXBlockUserStateClient()


def set_numbers(client: DjangoXBlockUserStateClient, *numbers: int, name: str = "ann") -> None:
    for number in numbers:
        client.set(name, BLOCK, {"number": number})


def numbers_of(client: DjangoXBlockUserStateClient, name: str = "ann") -> list[int]:
    return [(entry.state or {})["number"] for entry in client.get_history(name, BLOCK)]


def extended_count() -> int:
    return extended_model()._base_manager.using(ALIAS).count()


def relay() -> str:
    output = StringIO()
    call_command("relay_history", stdout=output)
    return output.getvalue()


def test_writes_commit_and_readers_see_everything(client: DjangoXBlockUserStateClient, outage: Outage) -> None:
    with outage.lasts():
        set_numbers(client, 1, 2, 3)
        assert client.get("ann", BLOCK).state == {"number": 3}
        assert numbers_of(client) == [3, 2, 1]
    assert extended_count() == 0
    assert "3 entries were shipped" in relay()
    assert (extended_count(), HistoryOutbox.objects.count()) == (3, 0)
    assert numbers_of(client) == [3, 2, 1]


def test_not_every_write_waits_for_it_to_fail(client: DjangoXBlockUserStateClient, outage: Outage) -> None:
    with outage.lasts():
        set_numbers(client, *range(20))
        assert outage.attempts == 1
        outage.wait(RETRY_SECONDS)
        set_numbers(client, *range(20, 40))
        assert outage.attempts == 2


def test_readers_do_not_wait_either_where_they_find_all(client: DjangoXBlockUserStateClient, outage: Outage) -> None:
    with outage.lasts():
        set_numbers(client, *range(5))
        before = outage.attempts
        assert len(numbers_of(client)) == 5
        assert outage.attempts == before


def test_one_warning_a_minute(
    client: DjangoXBlockUserStateClient, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    with outage.lasts():
        for number in range(int(2 * WARN_SECONDS)):
            set_numbers(client, number)
            outage.wait(1)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in warnings] == ["xblock_user_state.history"] * 2


def test_it_is_written_to_again_when_it_is_back(client: DjangoXBlockUserStateClient, outage: Outage) -> None:
    with outage.lasts():
        set_numbers(client, 1, 2)
    set_numbers(client, 3)
    assert extended_count() == 0
    outage.wait(RETRY_SECONDS)
    set_numbers(client, 4)
    # The shipment includes the block's backlog.
    assert (extended_count(), HistoryOutbox.objects.count()) == (4, 0)
    set_numbers(client, 5)
    assert extended_count() == 5


def test_entries_that_only_it_has_are_unavailable_and_the_error_names_it(
    client: DjangoXBlockUserStateClient, outage: Outage
) -> None:
    set_numbers(client, 1, 2)
    with outage.lasts():
        for _ in range(2):
            with pytest.raises(ServiceUnavailable, match=ALIAS):
                numbers_of(client)
        assert client.get("ann", BLOCK).state == {"number": 2}
        set_numbers(client, 3)
    outage.wait(RETRY_SECONDS)
    assert numbers_of(client) == [3, 2, 1]


def test_not_every_reader_waits_for_it_to_fail(client: DjangoXBlockUserStateClient, outage: Outage) -> None:
    set_numbers(client, 1, 2)
    with outage.lasts():
        for attempts in (1, 2):
            for _ in range(5):
                with pytest.raises(ServiceUnavailable, match=ALIAS):
                    numbers_of(client)
            assert outage.attempts == attempts
            outage.wait(RETRY_SECONDS)
    assert numbers_of(client) == [2, 1]


def test_a_reader_sees_what_is_answered_while_it_finds_out(
    client: DjangoXBlockUserStateClient, outage: Outage, settings: Settings
) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    set_numbers(client, 1, 2)
    answer_meanwhile = just_before(
        "SELECT", StudentModuleHistory, lambda: on_another_connection(lambda: set_numbers(client, 3))
    )
    with outage.lasts(), answer_meanwhile:
        assert numbers_of(client) == [3, 2, 1]
        assert outage.attempts == 1


def test_an_entry_that_is_refused_is_no_outage(
    client: DjangoXBlockUserStateClient, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    with refusing("INSERT", extended_model(), f"NEW.block_id = {identify_block(BLOCK).id}", ALIAS):
        for number in range(3):
            set_numbers(client, number)
            client.set("bob", OTHER, {"number": number})
    assert extended_count() == 3
    [warning] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "does not take some entries" in warning
    assert relay() == "3 entries were shipped.\n"


def test_deltas_on_entries_that_only_it_has_are_unavailable_too(
    client: DjangoXBlockUserStateClient, outage: Outage, settings: Settings
) -> None:
    client.set("ann", BLOCK, {"essay": ESSAY})
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": False, "READ_MULTIPLE_HISTORIES": False}
    client.set("ann", BLOCK, {"number": 1})
    assert len(list(client.get_history("ann", BLOCK))) == 1
    with outage.lasts(), pytest.raises(ServiceUnavailable, match=ALIAS):
        list(client.get_history("ann", BLOCK))


def test_writes_that_leave_shipping_to_the_relay_never_try(
    client: DjangoXBlockUserStateClient, outage: Outage, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    with outage.lasts():
        set_numbers(client, 1, 2)
        assert outage.attempts == 0
        # No write has found it down yet, so the reader tries it.
        assert numbers_of(client) == [2, 1]
        assert outage.attempts == 1
    assert len(caplog.records) == 1
    assert "2 entries were shipped" in relay()


@needs_a_server
def test_an_account_that_is_not_let_in_is_an_outage(client: DjangoXBlockUserStateClient, outage: Outage) -> None:
    with outage.lasts(STRANGER):
        set_numbers(client, 1, 2, 3)
        assert numbers_of(client) == [3, 2, 1]
        assert outage.attempts == 1
    assert "3 entries were shipped" in relay()


def test_a_history_database_that_was_not_migrated_is_an_outage(
    client: DjangoXBlockUserStateClient, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    call_command("migrate", "xblock_user_state_extended_history", "zero", database=ALIAS, verbosity=0)
    try:
        set_numbers(client, 1, 2, 3)
        assert numbers_of(client) == [3, 2, 1]
    finally:
        call_command("migrate", "xblock_user_state_extended_history", database=ALIAS, verbosity=0)
        citus.distribute()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "3 entries were shipped" in relay()


@needs_a_server
def test_writes_recover_from_a_connection_that_was_lost(client: DjangoXBlockUserStateClient, outage: Outage) -> None:
    """No request begins or ends here, so only the package can replace the connection."""
    set_numbers(client, 1)
    kill_connection(ALIAS)
    set_numbers(client, 2)
    assert extended_count() == 1
    outage.wait(RETRY_SECONDS)
    set_numbers(client, 3)
    assert (extended_count(), HistoryOutbox.objects.count()) == (3, 0)


@needs_a_server
@pytest.mark.parametrize("waits", [False, True], ids=["shipped", "in the outbox"])
def test_readers_recover_from_a_connection_that_was_lost(
    client: DjangoXBlockUserStateClient, outage: Outage, settings: Settings, waits: bool
) -> None:
    set_numbers(client, 1)
    if waits:
        settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
        set_numbers(client, 1, name="bob")
    kill_connection(ALIAS)
    assert numbers_of(client, "bob" if waits else "ann") == [1]
    assert numbers_of(client) == [1]


def _a_row() -> None:
    StudentModule.objects.get(student__username="ann").delete()


def _a_queryset() -> None:
    StudentModule.objects.filter(student__username="ann").delete()


def _a_user() -> None:
    get_user_model().objects.get(username="ann").delete()


@pytest.mark.parametrize("delete", [_a_row, _a_queryset, _a_user], ids=lambda delete: delete.__name__)
def test_deletions_count_at_once_and_are_shipped_later(
    client: DjangoXBlockUserStateClient, outage: Outage, delete: Callable[[], None]
) -> None:
    set_numbers(client, 1, 2)
    set_numbers(client, 1, name="bob")
    with outage.lasts():
        set_numbers(client, 3)
        delete()
        assert list(HistoryOutbox.objects.values_list("revision", flat=True)) == [TOMBSTONE]
        with pytest.raises(DoesNotExist):
            numbers_of(DjangoXBlockUserStateClient())
    assert extended_count() == 3
    relay()
    assert (extended_count(), HistoryOutbox.objects.count()) == (1, 0)
    assert numbers_of(client, "bob") == [1]


def test_who_begins_anew_during_it_has_the_new_history_only(
    client: DjangoXBlockUserStateClient, outage: Outage
) -> None:
    set_numbers(client, 1, 2, 3)
    with outage.lasts():
        _a_row()
        set_numbers(client, 10, 11)
        assert numbers_of(client) == [11, 10]
    assert numbers_of(client) == [11, 10]
    relay()
    assert numbers_of(client) == [11, 10]
    assert extended_count() == 2


def test_many_blocks_are_one_attempt(client: DjangoXBlockUserStateClient, outage: Outage) -> None:
    with outage.lasts():
        client.set_many("ann", {key: {"a": 1} for key in make_blocks(100)})
        assert outage.attempts == 1
    assert "100 entries were shipped" in relay()


@pytest.mark.parametrize("ship", ["at_once", "by_relay"])
@pytest.mark.parametrize("answers_again", [False, True], ids=["and is gone", "and begins anew"])
def test_a_learner_deleted_after_their_row_takes_along_what_that_left(
    client: DjangoXBlockUserStateClient, outage: Outage, settings: Settings, ship: str, answers_again: bool
) -> None:
    set_numbers(client, 1, 2)
    set_numbers(client, 1, name="bob")
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": ship}
    with outage.lasts():
        _a_row()
        if answers_again:
            set_numbers(client, 3)
        _a_user()
        assert list(HistoryOutbox.objects.values_list("revision", flat=True)) == [TOMBSTONE]
    assert extended_count() == 3
    relay()
    assert (extended_count(), HistoryOutbox.objects.count()) == (1, 0)


def test_a_row_deleted_again_before_the_first_deletion_was_shipped(
    client: DjangoXBlockUserStateClient, outage: Outage
) -> None:
    set_numbers(client, 1, 2)
    with outage.lasts():
        for _ in range(2):
            _a_row()
            assert list(HistoryOutbox.objects.values_list("revision", flat=True)) == [TOMBSTONE]
            set_numbers(client, 3)
    relay()
    assert (extended_count(), HistoryOutbox.objects.count()) == (1, 0)


def test_history_that_waits_without_a_row_goes_with_its_learner(
    client: DjangoXBlockUserStateClient, outage: Outage
) -> None:
    """SQL has deleted the row past the ORM."""
    set_numbers(client, 1, 2)
    with outage.lasts():
        set_numbers(client, 3)
        StudentModule.objects.all()._raw_delete("default")
        _a_user()
    relay()
    assert (extended_count(), HistoryOutbox.objects.count()) == (0, 0)


def test_an_error_that_nobody_thought_of_is_logged_and_not_the_callers(
    client: DjangoXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("nobody thought of this")

    with monkeypatch.context() as patched:
        patched.setattr(shipping, "ship", fail)
        set_numbers(client, 1)
        StudentModule.objects.all().delete()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError] * 2
    assert HistoryOutbox.objects.exists()
    relay()
    assert not HistoryOutbox.objects.exists()
    assert extended_count() == 0

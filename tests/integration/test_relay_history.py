"""``manage.py relay_history`` ships the outbox, once or for ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Timer
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from pytest_django import Settings

from tests import citus
from tests.factories import make_blocks, make_learners
from tests.integration.interference import kill_connection, needs_a_server, on_another_connection, second_connection
from tests.integration.outage import ALIAS, NOWHERE, STRANGER, Outage, refusing_revision
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from tests.integration.shipping import BLOCKS, answer_all_blocks, relay
from tests.relaying import ship_any
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import TOMBSTONE, extended_model
from xblock_user_state.history.outbox import relay as outbox_relay
from xblock_user_state.history.outbox.breaker import RETRY_SECONDS
from xblock_user_state.history.outbox.relay import MOST_REFUSED, POLL_SECONDS, Relay
from xblock_user_state.management.commands.relay_history import stopped_by_signals
from xblock_user_state.models import HistoryOutbox, StudentModule

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", ALIAS]),
]


@pytest.fixture(autouse=True)
def _learners(settings: Settings, outage: Outage) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    make_learners("ann", "bob")


def in_store(model: Any, alias: str = "default") -> list[tuple[Any, ...]]:
    names = [field.attname for field in HistoryOutbox._meta.concrete_fields]
    rows = model._base_manager.using(alias).order_by("student_id", "block_id", "revision").values_list(*names)
    return [tuple(bytes(value) if isinstance(value, memoryview) else value for value in row) for row in rows]


def extended() -> list[tuple[Any, ...]]:
    return in_store(extended_model(), ALIAS)


@pytest.mark.parametrize("arguments", [[], ["--once"], ["--batch", "1"], ["--batch", "7"]], ids=" ".join)
def test_all_that_waits_is_shipped_as_it_is(arguments: list[str]) -> None:
    answer_all_blocks(4)
    answer_all_blocks(2, "bob")
    waiting = in_store(HistoryOutbox)
    assert len(waiting) == 30
    assert extended() == []
    assert relay(*arguments) == "30 entries were shipped.\n"
    assert extended() == waiting
    assert in_store(HistoryOutbox) == []
    assert relay(*arguments) == "0 entries were shipped.\n"


def test_a_tombstone_takes_what_was_there_and_nothing_that_came_after_it() -> None:
    answer_all_blocks(3)
    relay()
    StudentModule.objects.all().delete()
    answer_all_blocks(2)
    assert {row.revision for row in HistoryOutbox.objects.all()} == {TOMBSTONE, 1, 2}
    relay("--batch", "2")
    assert in_store(HistoryOutbox) == []
    assert sorted(row[2] for row in extended()) == [1] * 5 + [2] * 5


def test_what_was_committed_there_before_a_crash_is_not_doubled() -> None:
    """The relay died between the two commits: both databases have the entries."""
    answer_all_blocks(2)
    waiting = list(HistoryOutbox.objects.all())
    relay()
    expected = extended()
    HistoryOutbox._base_manager.bulk_create(waiting)
    assert relay() == "10 entries were shipped.\n"
    assert extended() == expected


def test_an_entry_of_an_earlier_life_is_not_replaced() -> None:
    """Rows that were deleted past the ORM leave their history behind."""
    answer_all_blocks(1)
    relay()
    earlier = extended()
    StudentModule.objects.all()._raw_delete("default")
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCKS[0], {"life": "the second"})
    relay()
    assert set(earlier) < set(extended())
    assert len(extended()) == 6
    assert [entry.revision for entry in client.get_history("ann", BLOCKS[0])] == [2, 1]
    assert client.get("ann", BLOCKS[0]).state == {"life": "the second"}


def test_large_entries_go_in_several_statements(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "HISTORY_ENCODING": "plain"}
    client = DjangoXBlockUserStateClient()
    for number in range(5):
        client.set("ann", BLOCKS[0], {"essay": str(number) * 900_000})
    with count_statements(ALIAS, "INSERT") as statements:
        relay()
    assert len(statements) == 3
    assert [len(row[5]) > 900_000 for row in extended()] == [True] * 5


@contextmanager
def count_statements(alias: str, verb: str) -> Iterator[list[str]]:
    seen: list[str] = []

    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(verb):
            seen.append(sql)
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(wrapper):
        yield seen


def test_an_outage_ends_it_with_an_error_that_says_what_to_do(outage: Outage) -> None:
    answer_all_blocks(2)
    with outage.lasts(), pytest.raises(CommandError) as raised:
        relay()
    assert raised.value.returncode == 1
    assert f"'{ALIAS}'" in str(raised.value)
    assert "0 entries were shipped before; 10 wait in the outbox" in str(raised.value)
    assert "Run the command again" in str(raised.value)
    assert len(in_store(HistoryOutbox)) == 10
    assert relay() == "10 entries were shipped.\n"


def test_an_outage_is_an_error_also_when_nothing_waits(outage: Outage) -> None:
    with outage.lasts(), pytest.raises(CommandError, match=f"'{ALIAS}'.* 0 wait in the outbox"):
        relay()


@needs_a_server
def test_an_account_that_is_not_let_in_is_an_outage(outage: Outage) -> None:
    """The relay does not try again for each entry."""
    answer_all_blocks(2)
    with outage.lasts(STRANGER), pytest.raises(CommandError, match=f"'{ALIAS}'.*stranger.* 10 wait in the outbox"):
        relay()
    assert outage.attempts == 1
    assert relay() == "10 entries were shipped.\n"


def test_nobody_waits_while_it_connects(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer, connecting takes its whole timeout; no row may stay locked that long."""
    answer_all_blocks(1)
    connection = connections[ALIAS]
    connection.close()
    connect = connection.connect
    ann = User.objects.get(username="ann").pk

    def lock_all_and_write() -> None:
        with transaction.atomic():
            assert len(HistoryOutbox.objects.filter(student_id=ann).select_for_update()) == 5
            answer_all_blocks(1, "bob")

    def slowly() -> None:
        on_another_connection(lock_all_and_write)
        connect()

    with monkeypatch.context() as patch:
        patch.setattr(connection, "connect", slowly)
        assert relay() == "10 entries were shipped.\n"


def test_a_pass_ends_while_writers_go_on() -> None:
    answer_all_blocks(2)
    batches = []
    for rows in Relay("default", 7).once():
        batches.append(rows)
        answer_all_blocks(1, "bob")
    # The pass ends with its third batch: entries that arrived behind its place wait for the next pass.
    assert batches == [7, 7, 3]
    assert len(in_store(HistoryOutbox)) == 8


@needs_a_server
def test_it_returns_for_entries_that_waited_for_another_process() -> None:
    answer_all_blocks(20)
    first = HistoryOutbox.objects.earliest("student_id", "block_id", "revision")
    table = connections["default"].ops.quote_name(HistoryOutbox._meta.db_table)
    where = "student_id = %s AND block_id = %s AND revision = %s"
    with second_connection() as other:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {table} WHERE {where} FOR UPDATE", list(first.pk))  # noqa: S608
        shipping = Relay("default", 25).all()
        # In each attempt but the block's other 19 entries, which wait for the first.
        assert next(shipping) % 6 == 0
        assert HistoryOutbox.objects.filter(block_id=first.block_id).count() == 20
        other.rollback()
    *_, last = shipping
    assert last == 20
    assert in_store(HistoryOutbox) == []


def test_it_ends_though_writers_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_relay, "MOST_PASSES", 2)
    answer_all_blocks(2)
    batches = []
    for rows in Relay("default", 500).all():
        batches.append(rows)
        answer_all_blocks(1, "bob")
    assert batches == [10, 5]


@pytest.mark.parametrize("batch", ["1", "2", "4", "500"])
def test_an_entry_that_is_refused_does_not_keep_back_the_others(batch: str) -> None:
    answer_all_blocks(3)
    with refusing_revision(2), pytest.raises(CommandError, match=r"refuses 5 of them: .*revision 2: ") as raised:
        relay("--batch", batch)
    assert raised.value.returncode == 1
    assert {row[2] for row in in_store(HistoryOutbox)} == {2}
    assert len(extended()) == 10
    assert relay() == "5 entries were shipped.\n"


def test_a_tombstone_that_is_refused_keeps_what_follows_it() -> None:
    answer_all_blocks(2)
    relay()
    StudentModule.objects.filter(block_id=StudentModule.objects.earliest("block_id").block_id).delete()
    answer_all_blocks(1)
    [buried] = HistoryOutbox.objects.filter(revision=TOMBSTONE)
    with refusing_deletions(), pytest.raises(CommandError, match=f"block {buried.block_id}, revision 0: "):
        relay()
    # Shipping the second life's first entry before the tombstone would let the tombstone delete it.
    assert [row[:3] for row in in_store(HistoryOutbox)] == [(*buried.pk[:2], 0), (*buried.pk[:2], 1)]
    assert len(extended()) == 14
    assert relay() == "2 entries were shipped.\n"
    assert len(extended()) == 13


@contextmanager
def refusing_deletions() -> Iterator[None]:
    """Let the history database refuse deletions."""
    table = extended_model()._meta.db_table
    make, unmake = {
        "sqlite": (
            [f"CREATE TRIGGER keep BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'kept'); END"],
            "DROP TRIGGER keep",
        ),
        "mysql": (
            [f"CREATE TRIGGER keep BEFORE DELETE ON {table} FOR EACH ROW SIGNAL SQLSTATE '45000'"],
            "DROP TRIGGER keep",
        ),
        "postgresql": (
            # Citus takes only one command at a time.
            [
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'kept'; END $$",
                f"CREATE TRIGGER keep BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION keep()",
            ],
            "DROP FUNCTION keep CASCADE",
        ),
    }[connections[ALIAS].vendor]
    with connections[ALIAS].cursor() as cursor:
        for command in make:
            cursor.execute(command)
    try:
        yield
    finally:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(unmake)


def test_a_history_database_that_refuses_everything_is_not_asked_for_each_entry(settings: Settings) -> None:
    DjangoXBlockUserStateClient().set_many("ann", {block: {"a": 1} for block in make_blocks(MOST_REFUSED + 50)})
    with (
        refusing_revision(1),
        count_statements(ALIAS, "INSERT") as statements,
        pytest.raises(CommandError, match=r"150 wait"),
    ):
        relay()
    # The batch, and single rows until the limit of refused ones.
    assert len(statements) == 1 + MOST_REFUSED + 1
    assert relay() == "150 entries were shipped.\n"


def test_a_history_database_without_its_table_takes_nothing() -> None:
    answer_all_blocks(1)
    call_command("migrate", "xblock_user_state_extended_history", "zero", database=ALIAS, verbosity=0)
    try:
        with pytest.raises(CommandError, match=f"'{ALIAS}'.* 5 wait in the outbox.*migrate_all"):
            relay()
        HistoryOutbox.objects.all().delete()
        with pytest.raises(CommandError, match=f"'{ALIAS}': it has no table .* 0 wait in the outbox.*migrate_all"):
            relay()
        answer_all_blocks(1)
    finally:
        call_command("migrate", "xblock_user_state_extended_history", database=ALIAS, verbosity=0)
        citus.distribute()
    assert relay() == "5 entries were shipped.\n"


def test_following_warns_of_a_history_database_without_its_table(caplog: pytest.LogCaptureFixture) -> None:
    call_command("migrate", "xblock_user_state_extended_history", "zero", database=ALIAS, verbosity=0)
    migrate = partial(call_command, "migrate", "xblock_user_state_extended_history", database=ALIAS, verbosity=0)
    pauses = Pauses(lambda: None, migrate, answer_all_blocks)
    try:
        assert sum(Relay("default", 500).follow(pauses)) == 5
    finally:
        migrate()
        citus.distribute()
    assert pauses.seconds.count(RETRY_SECONDS) == 2
    assert "it has no table" in caplog.text


class Pauses:
    """Replaces the time between two passes; each pause runs the next action."""

    def __init__(self, *events: Callable[[], object]) -> None:
        self._events = list(events)
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        if seconds and not self._events:
            return False
        if seconds:
            self._events.pop(0)()
        return True


def test_following_ships_what_is_yet_to_come() -> None:
    pauses = Pauses(answer_all_blocks, lambda: answer_all_blocks(2))
    assert sum(Relay("default", 4).follow(pauses)) == 15
    assert len(extended()) == 15
    assert set(pauses.seconds) == {0.0, POLL_SECONDS}


def test_following_goes_on_over_an_outage(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    answer_all_blocks(1)
    down = outage.lasts()
    down.__enter__()
    pauses = Pauses(answer_all_blocks, answer_all_blocks, lambda: down.__exit__(None, None, None), answer_all_blocks)
    assert sum(Relay("default", 500).follow(pauses)) == 20
    assert in_store(HistoryOutbox) == []
    assert pauses.seconds.count(RETRY_SECONDS) == 3
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_following_goes_on_when_the_outbox_is_away(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_all_blocks(1)
    connection = connections["default"]
    connection.close()
    name, nowhere = next(iter(NOWHERE[connection.vendor].items()))
    here = connection.settings_dict[name]
    monkeypatch.setitem(connection.settings_dict, name, nowhere)
    back = lambda: connection.settings_dict.update({name: here})  # noqa: E731
    pauses = Pauses(lambda: None, lambda: None, back, lambda: None)
    assert sum(Relay("default", 500).follow(pauses)) == 5
    assert pauses.seconds.count(RETRY_SECONDS) == 3
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


@needs_a_server
@pytest.mark.parametrize("alias", ["default", ALIAS])
def test_following_goes_on_over_a_lost_connection(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on hosts with persistent connections: only the failure shows that this one is closed.
    monkeypatch.setitem(connections[alias].settings_dict, "CONN_MAX_AGE", None)
    connections[alias].close()

    def lose() -> None:
        on_another_connection(answer_all_blocks)
        kill_connection(alias)

    pauses = Pauses(lose, lambda: None, lambda: on_another_connection(answer_all_blocks))
    assert sum(Relay("default", 500).follow(pauses)) == 10
    assert pauses.seconds.count(RETRY_SECONDS) == 1
    connections[alias].close()


@contextmanager
def signalled_at_the_first_insert(number: signal.Signals) -> Iterator[None]:
    """Send this process a signal in the middle of the first batch."""
    sent: list[None] = []

    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and not sent:
            sent.append(None)
            os.kill(os.getpid(), number)
        return execute(sql, params, many, context)

    with connections[ALIAS].execute_wrapper(wrapper):
        yield


@pytest.mark.parametrize("mode", ["--once", "--follow"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_batch(mode: str, number: signal.Signals) -> None:
    answer_all_blocks(2)
    before = signal.getsignal(number)
    with signalled_at_the_first_insert(number):
        assert relay(mode, "--batch", "4") == "4 entries were shipped.\nStopped by a signal.\n"
    assert (len(extended()), len(in_store(HistoryOutbox))) == (4, 6)
    assert signal.getsignal(number) == before


@pytest.mark.timeout(60)
def test_a_signal_ends_a_pause() -> None:
    with stopped_by_signals() as stop:
        assert stop.pause(0)
        Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert not stop.pause(3600)
        assert not stop.pause(3600)


def test_a_signal_is_no_error_where_entries_are_refused() -> None:
    answer_all_blocks(2)
    with refusing_revision(1), signalled_at_the_first_insert(signal.SIGTERM):
        assert relay("--follow").endswith("Stopped by a signal.\n")


def test_following_names_what_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    answer_all_blocks(2)
    with refusing_revision(2):
        assert sum(Relay("default", 500).follow(Pauses())) == 5
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "it refuses 5 of them" in warning


def test_rows_that_another_relay_ships_are_left_to_it() -> None:
    answer_all_blocks(1)
    if not connections["default"].features.has_select_for_update_skip_locked:
        pytest.skip("SQLite locks no rows: relays take turns")
    theirs: list[str] = []

    def second(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and not theirs:
            theirs.append("")
            on_another_connection(lambda: theirs.append(relay()))
        return execute(sql, params, many, context)

    with connections[ALIAS].execute_wrapper(second):
        assert ship_any(500) == 5
    assert theirs[1].startswith("0 entries were shipped.\n5 entries came meanwhile")
    assert (len(extended()), in_store(HistoryOutbox)) == (5, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--batch", "0"], "--batch is 0"), (["--once", "--follow"], "not allowed with")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_arguments_that_mean_nothing(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        relay(*arguments)


def test_without_an_extended_history_there_is_nothing_to_ship_to(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"HISTORY_DATABASE": "nowhere"}
    with pytest.raises(CommandError, match=r"there is no extended history: .*'nowhere'"):
        relay()

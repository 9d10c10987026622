"""Relays as processes: killed, stopped, several at once, and under writers. No entry is lost or doubled."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from functools import partial
from itertools import count

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import Settings

from tests.acceptance import relays, workers
from tests.acceptance.agreement import assert_agreement_of_all_stores
from tests.acceptance.conftest import Start
from tests.acceptance.processes import Crew, finish
from tests.acceptance.scene import problems, workload
from tests.acceptance.waiting import PATIENCE_SECONDS, wait_until
from tests.integration.outage import ALIAS, NOWHERE
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.models import BaseStudentModuleHistory, HistoryOutbox, StudentModule

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", ALIAS]),
    pytest.mark.timeout(300),
]

BY_RELAY = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}

Numbers = Iterator[int]


@pytest.fixture(autouse=True)
def _by_relay(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = BY_RELAY


@pytest.fixture
def start(start: Start) -> Start:
    """Starts the command as operators do, with these variables, and ends the processes after the test."""
    return partial(start, "django", "relay_history")


@pytest.fixture
def unreachable_history(child_environment: dict[str, str]) -> dict[str, str]:
    """The variable with the URL of a history database that can't be reached."""
    name = "HISTORY_DATABASE_URL"
    connection = connections[ALIAS]
    port = str(connection.settings_dict["PORT"])
    if connection.vendor == "sqlite":
        return {name: f"sqlite:///{NOWHERE['sqlite']['NAME']}"}
    return {name: child_environment[name].replace(f":{port}/", f":{NOWHERE[connection.vendor]['PORT']}/")}


def write_answers(learner: str, numbers: Numbers, *, blocks: int = 3, times: int = 2) -> None:
    client = DjangoXBlockUserStateClient()
    for _ in range(times):
        client.set_many(learner, {block: {"number": next(numbers)} for block in problems("relayed", blocks)})


def keys(model: type[BaseStudentModuleHistory]) -> set[tuple[int, int, int]]:
    return set(model._base_manager.values_list("student_id", "block_id", "revision"))


def has_shipped(number: int) -> bool:
    return extended_model()._base_manager.count() >= number


def assert_readers_see_all() -> None:
    for module in StudentModule.objects.all():
        seen = [entry.revision for entry in BaseStudentModuleHistory.get_history([module])]
        assert seen == list(range(module.revision, 0, -1))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_statement_it_loses_and_doubles_nothing(crew: Crew, learner: str, moment: str) -> None:
    numbers = count()
    in_both = 0
    for statement in count(1):
        # The outbox gets every kind of row: entries, a tombstone at the end of a life, and a new life.
        write_answers(learner, numbers)
        call_command("relay_history", verbosity=0)
        write_answers(learner, numbers)
        StudentModule.objects.earliest("block_id").delete()
        write_answers(learner, numbers, times=1)
        worker = crew.start(relays.relay_until_death, statement, moment, "--batch", "4")
        said = worker.wait_for_death()
        assert_readers_see_all()
        in_both += bool(keys(HistoryOutbox) & keys(extended_model()))
        call_command("relay_history", verbosity=0)
        assert_agreement_of_all_stores()
        if said:
            break
    # Several batches. In each, the history database commits before the outbox's rows are deleted.
    assert statement > 8
    assert in_both > 1


def test_two_at_once_share_the_work(crew: Crew, learners: list[str]) -> None:
    size = 20
    for learner in learners:
        write_answers(learner, count(), blocks=workload(servers=60, sqlite=20), times=2)
    expected = keys(HistoryOutbox)
    pair = crew.hire(2)
    for worker in pair:
        worker.start(relays.ship_with_a_break, size)
    for worker in pair:
        worker.wait_for_pause()
    for worker in pair:
        worker.resume()
    first, second = finish(*pair)
    assert sum(first) + sum(second) == len(expected)
    assert min(first[0], second[0]) > 0
    assert keys(extended_model()) == expected
    assert_agreement_of_all_stores()


def test_several_commands_at_once_ship_each_entry_once(crew: Crew, learners: list[str]) -> None:
    for learner in learners:
        write_answers(learner, count(), blocks=workload(servers=60, sqlite=20), times=2)
    waiting = HistoryOutbox.objects.count()
    said = crew.run([(relays.relay, "--batch", "7")] * 4)
    shipped = [int(output.partition(" ")[0].replace(",", "")) for [output] in said]
    assert sum(shipped) == waiting, said
    assert_agreement_of_all_stores()


def test_killed_again_and_again_while_writers_write(crew: Crew, learners: list[str]) -> None:
    choice = random.Random(1961)
    [block] = problems("written", 1)
    writers = [
        crew.start(workers.with_settings, BY_RELAY, workers.count_up, learner, [block], "number", 1)
        for learner in learners[:3]
    ]
    while not writers[0].said:
        # The reader starts after the first write: before it there is no history to read.
        writers[0].receive()
    reader = crew.start(workers.read_history, learners[0], block, "number")
    for _ in range(workload(servers=20, sqlite=8)):
        more = len(keys(extended_model())) + 1
        relay = crew.start(relays.relay, "--follow", "--batch", "3")
        wait_until(partial(has_shipped, more))
        for worker in (*writers, reader):
            worker.listen(choice.uniform(0, 0.01))
        relay.kill()
    said = [writer.stop() for writer in writers]
    assert reader.stop()
    call_command("relay_history", verbosity=0)
    histories = assert_agreement_of_all_stores()
    assert sorted(len(entries) for entries in histories.values()) == sorted(len(numbers) for numbers in said)


def test_following_it_ships_what_comes_until_it_is_told_to_stop(start: Start, learner: str) -> None:
    process = start("--follow")
    numbers = count()
    for _ in range(2):
        write_answers(learner, numbers)
        wait_until(lambda: not HistoryOutbox.objects.exists(), process)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert output == "12 entries were shipped.\nStopped by a signal.\n"
    assert_agreement_of_all_stores()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_following_it_can_be_stopped_while_the_database_is_down(
    start: Start, unreachable_history: dict[str, str], learner: str, number: signal.Signals
) -> None:
    write_answers(learner, count())
    process = start("--follow", **unreachable_history)
    assert process.stderr is not None
    assert "the history database can't be written to" in process.stderr.readline()
    process.send_signal(number)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert output == "0 entries were shipped.\nStopped by a signal.\n"
    assert HistoryOutbox.objects.count() == 6


def test_its_exit_status_tells_of_an_outage(start: Start, unreachable_history: dict[str, str], learner: str) -> None:
    write_answers(learner, count())
    process = start(**unreachable_history)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, output) == (1, "")
    assert errors.startswith("CommandError: The history database can't be written to: 'student_module_history': ")
    assert "6 wait in the outbox" in errors

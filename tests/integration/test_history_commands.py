"""Behaviour that all history commands share: progress on a terminal, failed counts, and invalid numbers."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.factories import make_learners
from tests.integration.histories import add_entries, add_entries_to_every_store
from tests.integration.outage import counting_fails, lost, refused
from xblock_user_state.client import DjangoXBlockUserStateClient

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
TWO = pytest.mark.extended_history

COMMANDS = {
    "check_history": "1 rows with 24 entries were checked.",
    "repair_history": "1 rows were checked; 0 were repaired.",
    "sweep_history": "extended history: 0 entries belong to no state and were removed",
    "relay_history": "2 entries were shipped.",
    "backfill_extended_history": "12 entries are in the extended history; 12 of them are new there.",
}


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(command: str, folder: Path, **options: Any) -> str:
    """Run a command on a terminal, and return its output."""
    if command == "backfill_extended_history":
        options["state_file"] = folder / "position.json"
    terminal = Terminal()
    call_command(command, stdout=terminal, **options)
    return terminal.getvalue()


@TWO
@pytest.mark.parametrize("instead", [refused, lost], ids=lambda instead: instead.__name__)
@pytest.mark.parametrize(("command", "said"), COMMANDS.items())
def test_a_table_that_can_not_be_counted_has_no_total(
    settings: Settings, tmp_path: Path, command: str, said: str, instead: Callable[[str], str]
) -> None:
    make_learners("ann")
    add_entries_to_every_store(settings, DjangoXBlockUserStateClient())
    with counting_fails(instead) as tried:
        shown = on_a_terminal(command, tmp_path)
    assert tried
    assert said in shown
    assert "%" not in shown


# Of three entries in the default history; and of 24 entries in all stores, two of them in the outbox.
PROGRESS = {
    "repair_history": ["of 1 rows"],
    "check_history": ["of 1 rows", "of 3 entries of the default history"],
    "sweep_history": ["of 3 entries of the default history"],
}
PROGRESS_OF_TWO = {
    "relay_history": ["of 2 entries", " left"],
    "backfill_extended_history": ["of 12 entries", " left"],
    "check_history": ["of 1 rows", "of 12 entries of the default history", "of 10 entries of the extended history"],
    "sweep_history": ["of 12 entries of the default history", "of 10 entries of the extended history"],
}


@pytest.mark.parametrize(("command", "lines"), PROGRESS.items())
def test_a_terminal_shows_how_far_it_is(command: str, lines: list[str], tmp_path: Path) -> None:
    make_learners("ann")
    add_entries(DjangoXBlockUserStateClient(), 3)
    shown = on_a_terminal(command, tmp_path, batch=2)
    assert [line for line in lines if line not in shown] == []


@TWO
@pytest.mark.parametrize(("command", "lines"), PROGRESS_OF_TWO.items())
def test_a_terminal_shows_how_far_it_is_in_all_stores(
    settings: Settings, command: str, lines: list[str], tmp_path: Path
) -> None:
    make_learners("ann")
    add_entries_to_every_store(settings, DjangoXBlockUserStateClient())
    shown = on_a_terminal(command, tmp_path, batch=2)
    assert [line for line in lines if line not in shown] == []


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize("command", ["check_history", "repair_history", "sweep_history", "relay_history"])
def test_a_batch_has_an_entry_at_least(command: str, size: int) -> None:
    with pytest.raises(CommandError, match=f"--batch is {size}; it must be 1 or more"):
        call_command(command, batch=size)


@TWO
@pytest.mark.parametrize("arguments", [["--batch", "0"], ["--rate", "0"], ["--rate=-1"]])
def test_a_backfill_has_a_batch_and_a_rate_of_one_at_least(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="must be 1 or more"):
        call_command("backfill_extended_history", *arguments)

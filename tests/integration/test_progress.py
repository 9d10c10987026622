"""Maintenance commands on a terminal: what can't be counted is worked through all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import Settings

from tests.factories import make_learners
from tests.integration.histories import answer_into_every_store
from tests.integration.interference import kill_connection
from tests.integration.outage import ALIAS
from xblock_user_state.client import DjangoXBlockUserStateClient

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", ALIAS]),
]

COMMANDS = {
    "check_history": "1 rows with 24 entries were checked.",
    "sweep_history": "extended history: 0 entries belong to no state and were removed",
    "relay_history": "2 entries were shipped.",
    "backfill_extended_history": "12 entries are in the extended history; 12 of them are new there.",
}


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def refused(_: str) -> str:
    """In place of the statement that counts: one that fails, as a timeout makes it do."""
    return "SELECT counted FROM nowhere"


def lost(alias: str) -> str:
    """The same, on a connection that is gone, as the driver's timeout leaves it."""
    if connections[alias].vendor != "sqlite":
        kill_connection(alias)
    return refused(alias)


@contextmanager
def counting_fails(instead: Callable[[str], str]) -> Iterator[list[str]]:
    """Have no table counted; give the aliases where it was tried."""
    tried: list[str] = []

    def wrapper(alias: str, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not sql.startswith("SELECT COUNT(*)"):
            return execute(sql, params, many, context)
        tried.append(alias)
        return execute(instead(alias), None, many, context)

    with ExitStack() as stack:
        for alias in ("default", ALIAS):
            stack.enter_context(connections[alias].execute_wrapper(partial(wrapper, alias)))
        yield tried


@pytest.mark.parametrize("instead", [refused, lost], ids=lambda instead: instead.__name__)
@pytest.mark.parametrize(("command", "said"), COMMANDS.items())
def test_a_table_that_can_not_be_counted_has_no_total(
    settings: Settings, tmp_path: Path, command: str, said: str, instead: Callable[[str], str]
) -> None:
    make_learners("ann")
    answer_into_every_store(settings, DjangoXBlockUserStateClient())
    options = {"state_file": tmp_path / "position.json"} if command.startswith("backfill") else {}
    terminal = Terminal()
    with counting_fails(instead) as tried:
        call_command(command, stdout=terminal, **options)
    assert tried
    assert said in terminal.getvalue()
    assert "%" not in terminal.getvalue()

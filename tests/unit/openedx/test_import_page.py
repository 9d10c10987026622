"""The page of the import lists each option of both commands, and each reason with its meaning."""

from __future__ import annotations

import argparse
import re

import pytest
from django.core.management import BaseCommand

from tests.documentation import DOCS
from xblock_user_state.openedx.management.commands import compare_openedx, import_openedx
from xblock_user_state.openedx.old.reasons import Reason

PAGE = (DOCS / "reference/openedx-import.md").read_text()


def options_of(command: BaseCommand) -> set[str]:
    parser = argparse.ArgumentParser(add_help=False)
    command.add_arguments(parser)  # type: ignore[arg-type]
    return {option for action in parser._actions for option in action.option_strings}


@pytest.mark.parametrize("command", [import_openedx.Command(), compare_openedx.Command()])
def test_each_option_is_on_the_page(command: BaseCommand) -> None:
    assert options_of(command) <= set(re.findall(r"--[a-z-]+", PAGE))


def test_each_reason_is_on_the_page_with_its_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (taken|left out) \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [(each.code, "left out" if each.is_left_out else "taken", each.meaning) for each in Reason]

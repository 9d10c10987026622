"""Answers of learners in five blocks, and the command that ships their history."""

from __future__ import annotations

from io import StringIO
from itertools import count

from django.core.management import call_command

from tests.factories import make_blocks
from xblock_user_state.client import DjangoXBlockUserStateClient

BLOCKS = make_blocks(5)
# Never repeats, so that each write is a change.
NUMBERS = count()


def answer_all_blocks(times: int = 1, name: str = "ann") -> None:
    """Write a new state into each of the blocks, this many times."""
    client = DjangoXBlockUserStateClient()
    for _ in range(times):
        client.set_many(name, {block: {"number": next(NUMBERS)} for block in BLOCKS})


def relay(*arguments: str) -> str:
    """Run the command, and return its output."""
    output = StringIO()
    call_command("relay_history", *arguments, stdout=output)
    return output.getvalue()

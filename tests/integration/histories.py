"""Histories whose entries are of every kind, and where they are."""

from __future__ import annotations

from pytest_django import Settings

from tests.factories import make_block
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import stores

BLOCK = make_block()
# Long enough for a delta to be worth it.
ESSAY = "It is dark at night because the universe is not infinitely old. " * 5


def answer(client: DjangoXBlockUserStateClient, times: int, name: str = "ann", start: int = 0) -> None:
    """Change the state so many times, to what it never was before."""
    for number in range(start, start + times):
        client.set(name, BLOCK, {"number": number, "essay": ESSAY})


def answer_into_every_store(settings: Settings, client: DjangoXBlockUserStateClient, name: str = "ann") -> None:
    """Make 24 entries: of all encodings, in all stores, building on entries of others. The last two are in the outbox.

    New entries go to the outbox then, and stay there.
    """
    number = 0
    for encoding in ("delta", "plain", "delta"):
        for extended, ship in ((False, "at_once"), (True, "at_once"), (False, "at_once"), (True, "by_relay")):
            flags = {"EXTENDED_HISTORY": extended, "SHIP_HISTORY": ship, "HISTORY_ENCODING": encoding}
            settings.XBLOCK_USER_STATE = flags
            answer(client, 2, name, number)
            number += 2


def revisions() -> dict[str, list[int]]:
    """Return the revisions in each store that has any, by the store's model, in the order of learners and blocks."""
    found = {}
    for model, alias in stores("default"):
        rows = model._base_manager.using(alias).order_by("student_id", "block_id", "revision")
        found[model.__name__] = list(rows.values_list("revision", flat=True))
    return {name: numbers for name, numbers in found.items() if numbers}

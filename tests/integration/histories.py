"""Histories with entries of every encoding, in every store."""

from __future__ import annotations

from pytest_django import Settings

from tests.factories import make_block
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import stores

BLOCK = make_block()
# Long enough for a delta to save space.
ESSAY = "It is dark at night because the universe is not infinitely old. " * 5


def add_entries(client: DjangoXBlockUserStateClient, times: int, name: str = "ann", start: int = 0) -> None:
    """Change the state this many times, each time to a new value."""
    for number in range(start, start + times):
        client.set(name, BLOCK, {"number": number, "essay": ESSAY})


def add_entries_to_every_store(settings: Settings, client: DjangoXBlockUserStateClient, name: str = "ann") -> None:
    """Write 24 entries: in all encodings and stores, with deltas on entries of other stores.

    The last two are in the outbox. The settings stay so that later entries go there and wait for the relay.
    """
    number = 0
    for encoding in ("delta", "plain", "delta"):
        for extended, ship in ((False, "at_once"), (True, "at_once"), (False, "at_once"), (True, "by_relay")):
            flags = {"EXTENDED_HISTORY": extended, "SHIP_HISTORY": ship, "HISTORY_ENCODING": encoding}
            settings.XBLOCK_USER_STATE = flags
            add_entries(client, 2, name, number)
            number += 2


def revisions() -> dict[str, list[int]]:
    """Return the revisions of each nonempty store by the name of its model, ordered by learner and block."""
    found = {}
    for model, alias in stores("default"):
        rows = model._base_manager.using(alias).order_by("student_id", "block_id", "revision")
        found[model.__name__] = list(rows.values_list("revision", flat=True))
    return {name: numbers for name, numbers in found.items() if numbers}

"""Links to the actions that a user may take at a place."""

from __future__ import annotations

from typing import NamedTuple

from django.http import HttpRequest
from django.urls import reverse
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.access import Action
from xblock_user_state.console.access import allows
from xblock_user_state.console.acting import DELETING, KINDS, TITLES, Target, Text, kind_of
from xblock_user_state.console.hosts import console_host


class Offer(NamedTuple):
    """A link to the form of an action."""

    title: Text
    url: str
    deletes: bool = False
    """Pages set it apart."""


def address(
    name: str, course: LearningContextKey, block: UsageKey | None = None, username: str | None = None, act: str = ""
) -> str:
    """Return the address of a page about a course or a block, of one learner or of all."""
    places = [text for text in (username, str(course), block and str(block), act) if text]
    return reverse(f"xblock_user_state_console:{name}", args=places)


def offers(
    request: HttpRequest, course: LearningContextKey, block: UsageKey | None = None, username: str | None = None
) -> list[Offer]:
    """Return the actions on the states of a course or a block, of one learner or of all; none without permission."""
    if not allows(request, Action.ACT, username, course, block):
        return []
    host, target = console_host(), Target(course, block, username is not None)
    acts = [act for act in KINDS if kind_of(act, host, target)] + (["move_state"] if block else [])
    acts.sort(key=lambda act: act in DELETING)
    name = f"act_{'on' if username else 'all'}_{'block' if block else 'course'}"
    return [Offer(TITLES[act], address(name, course, block, username, act), act in DELETING) for act in acts]


def offers_on_person(request: HttpRequest, username: str) -> list[Offer]:
    """Return the actions on all data of a learner."""
    found = []
    if allows(request, Action.READ, username) and allows(request, Action.SEE_HISTORY, username):
        found.append("export_learner")
    if allows(request, Action.ERASE, username):
        found.append("erase_learner")
    return [
        Offer(TITLES[act], reverse(f"xblock_user_state_console:{act}", args=[username]), act in DELETING)
        for act in found
    ]

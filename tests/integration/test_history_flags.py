"""The two flags of the extended history: stores of new entries, entries that readers see, changes at run time."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from tests.factories import make_block, make_learners
from tests.integration.histories import ESSAY
from tests.relaying import ship_any
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.conf import EXTENDED_HISTORY_APP
from xblock_user_state.history.entries import extended_model
from xblock_user_state.models import BaseStudentModuleHistory, HistoryOutbox, StudentModule, StudentModuleHistory

ALIAS = "student_module_history"
pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", ALIAS]),
]

BLOCK = make_block()
ALL_FLAGS = [(extended, both) for extended in (False, True) for both in (False, True)]


class Learner:
    """A learner whose state counts its changes."""

    def __init__(self, settings: Settings) -> None:
        make_learners("ann")
        self._settings = settings
        self._client = DjangoXBlockUserStateClient()
        self._count = 0

    def flags(self, extended: bool, both: bool, **others: Any) -> None:
        flags = {"EXTENDED_HISTORY": extended, "READ_MULTIPLE_HISTORIES": both}
        self._settings.XBLOCK_USER_STATE = {**flags, **others}

    def answer(self, times: int = 1) -> None:
        for _ in range(times):
            self._count += 1
            self._client.set("ann", BLOCK, {"number": self._count, "essay": ESSAY})

    def sees(self, **window: int) -> list[int]:
        states = [entry.state for entry in self._client.get_history("ann", BLOCK, **window)]
        return [state["number"] for state in states if state]

    def sees_by_model(self) -> list[int]:
        return [entry.revision for entry in BaseStudentModuleHistory.get_history(StudentModule.objects.all())]


@pytest.fixture
def learner(settings: Settings) -> Learner:
    return Learner(settings)


def stored() -> dict[str, list[int]]:
    """Return the revisions in each store, oldest first."""
    models: dict[str, type[BaseStudentModuleHistory]] = {
        "default": StudentModuleHistory,
        "extended": extended_model(),
        "outbox": HistoryOutbox,
    }
    return {
        name: list(model._base_manager.order_by("revision").values_list("revision", flat=True))
        for name, model in models.items()
    }


@pytest.mark.parametrize("both", [False, True])
def test_new_entries_go_to_the_default_history(learner: Learner, both: bool) -> None:
    learner.flags(False, both)
    learner.answer(3)
    assert stored() == {"default": [1, 2, 3], "extended": [], "outbox": []}
    assert learner.sees() == learner.sees_by_model() == [3, 2, 1]


@pytest.mark.parametrize("both", [False, True])
def test_new_entries_go_to_the_extended_history(learner: Learner, both: bool) -> None:
    learner.flags(True, both)
    learner.answer(3)
    assert stored() == {"default": [], "extended": [1, 2, 3], "outbox": []}
    assert learner.sees() == learner.sees_by_model() == [3, 2, 1]


@pytest.mark.parametrize("both", [False, True])
def test_new_entries_wait_for_the_relay(learner: Learner, both: bool) -> None:
    learner.flags(True, both, SHIP_HISTORY="by_relay")
    learner.answer(3)
    assert stored() == {"default": [], "extended": [], "outbox": [1, 2, 3]}
    assert learner.sees() == [3, 2, 1]
    assert ship_any(2) == 2
    assert stored() == {"default": [], "extended": [1, 2], "outbox": [3]}
    assert learner.sees() == [3, 2, 1]


@pytest.mark.parametrize("encoding", ["delta", "plain"])
@pytest.mark.parametrize(("extended", "both"), ALL_FLAGS)
def test_readers_see_what_the_flags_say(learner: Learner, extended: bool, both: bool, encoding: str) -> None:
    """Two entries in each of the default history, the extended history and the outbox, all about one state."""
    learner.flags(False, False, HISTORY_ENCODING=encoding)
    learner.answer(2)
    learner.flags(True, False, HISTORY_ENCODING=encoding)
    learner.answer(2)
    learner.flags(True, False, HISTORY_ENCODING=encoding, SHIP_HISTORY="by_relay")
    learner.answer(2)
    assert stored() == {"default": [1, 2], "extended": [3, 4], "outbox": [5, 6]}

    learner.flags(extended, both)
    expected = {
        (False, False): [6, 5, 2, 1],
        (False, True): [6, 5, 4, 3, 2, 1],
        (True, False): [6, 5, 4, 3],
        (True, True): [6, 5, 4, 3, 2, 1],
    }[extended, both]
    assert learner.sees() == learner.sees_by_model() == expected
    assert learner.sees(limit=3) == expected[:3]
    assert learner.sees(before_revision=4) == [number for number in expected if number < 4]


@pytest.mark.parametrize("encoding", ["delta", "plain"])
def test_changes_of_mind_lose_nothing(learner: Learner, encoding: str) -> None:
    for extended, both in [*ALL_FLAGS, *reversed(ALL_FLAGS)]:
        learner.flags(extended, both, HISTORY_ENCODING=encoding)
        learner.answer(3)
    learner.flags(False, True)
    assert learner.sees() == learner.sees_by_model() == list(range(24, 0, -1))
    assert stored()["default"] == [1, 2, 3, 4, 5, 6, 19, 20, 21, 22, 23, 24]
    assert stored()["extended"] == list(range(7, 19))


@pytest.mark.parametrize("encoding", ["delta", "plain"])
def test_entries_are_decoded_with_bases_that_the_flags_hide(learner: Learner, encoding: str) -> None:
    expected: dict[bool, list[int]] = {False: [], True: []}
    for number in range(1, 201):
        # Alternate, so that every entry builds on one in the other store.
        extended = number % 2 == 0
        learner.flags(extended, False, HISTORY_ENCODING=encoding)
        learner.answer()
        expected[extended].insert(0, number)
    for extended, numbers in expected.items():
        learner.flags(extended, False)
        assert learner.sees() == learner.sees_by_model() == numbers
        assert learner.sees(limit=1) == numbers[:1]
        assert learner.sees(limit=3, before_revision=100) == [number for number in numbers if number < 100][:3]


def test_one_visible_entry_builds_on_a_hidden_one(learner: Learner) -> None:
    learner.flags(False, False)
    learner.answer(5)
    learner.flags(True, False)
    learner.answer()
    assert learner.sees() == learner.sees_by_model() == [6]


def test_the_old_names_of_the_flags_count(learner: Learner, settings: Settings) -> None:
    names = ("ENABLE_CSMH_EXTENDED", "ENABLE_READING_FROM_MULTIPLE_HISTORY_TABLES")
    settings.XBLOCK_USER_STATE = {}
    settings.FEATURES = dict.fromkeys(names, False)
    learner.answer()
    settings.FEATURES = dict(zip(names, (True, False), strict=True))
    learner.answer()
    assert stored() == {"default": [1], "extended": [2], "outbox": []}
    assert learner.sees() == [2]
    settings.FEATURES[names[1]] = True
    assert learner.sees() == [2, 1]


def test_nothing_is_written_where_it_could_not_be_read(learner: Learner, settings: Settings) -> None:
    learner.flags(True, True)
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != EXTENDED_HISTORY_APP]
    with pytest.raises(ImproperlyConfigured, match="there is no extended history"):
        learner.answer()
    assert not StudentModule.objects.exists()
    assert not HistoryOutbox.objects.exists()

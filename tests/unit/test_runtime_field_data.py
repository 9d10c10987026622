"""The field data of a runtime: reads of learner fields take a short way, with the meaning of XBlock's own."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from xblock.field_data import DictFieldData
from xblock.runtime import KvsFieldData

from tests.blocks import ASIDE_TYPE, PageRuntime, make_page
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore, split_field_data
from xblock_user_state.runtime.field_data import LearnerFieldData

ADA = User(id=7, username="ada")
IDS, [QUIZ, POLL, VIDEO, TEXT] = make_page("quiz", "poll", "video", "text")
FIELDS = [(QUIZ, "attempts"), (QUIZ, "answers"), (POLL, "votes"), (VIDEO, "speed"), (VIDEO, "language"), (TEXT, "text")]


@pytest.fixture
def runtime() -> PageRuntime:
    store = UserStateKeyValueStore(InMemoryXBlockUserStateClient(), ADA)
    page = PageRuntime(store, ADA, IDS)
    page.submit(QUIZ, "red")
    page.submit(POLL, "red")
    return page


def _read(field_data: Any, block: Any, name: str) -> Any:
    try:
        return field_data.has(block, name), field_data.get(block, name)
    except KeyError:
        return "absent"


@pytest.mark.parametrize(("key", "name"), FIELDS)
def test_values_are_those_of_the_long_way(runtime: PageRuntime, key: Any, name: str) -> None:
    authored, block = DictFieldData({"text": "of the author"}), runtime.get_block(key)
    long_way = split_field_data(authored, KvsFieldData(runtime.learner_state))
    short_way = LearnerFieldData(authored, runtime.learner_state)
    assert _read(short_way, block, name) == _read(long_way, block, name)


def test_reading_learner_fields_makes_no_keys(runtime: PageRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KvsFieldData, "_key", None)
    assert runtime.get_block(QUIZ).attempts == 1
    assert runtime.get_block(QUIZ).seed is None
    assert runtime.get_block(POLL).votes == {"red": 1}
    assert runtime.get_block(VIDEO).language == "en"
    assert runtime.get_aside_of_type(runtime.get_block(QUIZ), ASIDE_TYPE).pen == "blue"


def test_a_block_of_another_learner_is_refused(runtime: PageRuntime) -> None:
    block = runtime.get_block(QUIZ)
    block.scope_ids = block.scope_ids._replace(user_id=8)
    field_data = LearnerFieldData(DictFieldData({}), runtime.learner_state)
    with pytest.raises(PermissionDenied, match="user id 8"):
        field_data.has(block, "seed")

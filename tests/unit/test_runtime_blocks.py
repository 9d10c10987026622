"""Real XBlock fields over `UserStateKeyValueStore`: the values that a block sees at its next view."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from opaque_keys.edx.asides import AsideUsageKeyV2
from xblock.core import XBlock, XBlockAside
from xblock.exceptions import XBlockSaveError
from xblock.fields import Boolean, Dict, Integer, List, ListScoreField, Scope, ScopeIds, ScoreField, String
from xblock.runtime import KvsFieldData, MemoryIdManager, Runtime
from xblock.scorable import Score

from tests.factories import ADA, make_block
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore

KEY = make_block("quiz", "quiz")


class QuizBlock(XBlock):
    """Has a field of each learner scope, with the kinds of field that stores get wrong."""

    attempts = Integer(default=0, scope=Scope.user_state)
    answers = Dict(scope=Scope.user_state)
    score = ScoreField(scope=Scope.user_state, enforce_type=False)
    scores = ListScoreField(scope=Scope.user_state, default=[], enforce_type=False)
    votes = List(scope=Scope.user_state_summary)
    large_print = Boolean(default=False, scope=Scope.preferences)
    language = String(default="en", scope=Scope.user_info)


class QuietRuntime(Runtime):
    """XBlock's runtime without a host around it."""

    def handler_url(self, *_arguments: Any, **_options: Any) -> str:
        raise NotImplementedError

    resource_url = local_resource_url = publish = handler_url


@pytest.fixture
def client() -> InMemoryXBlockUserStateClient:
    return InMemoryXBlockUserStateClient(recorded_block_types="*")


class GreetingAside(XBlockAside):
    """Has a field of the same name as a block's, in the scope that all blocks of a learner share."""

    language = String(default="en", scope=Scope.user_info)


def runtime_of(client: InMemoryXBlockUserStateClient, user: Any = ADA) -> Runtime:
    """Return the runtime of a new request."""
    ids = MemoryIdManager()
    return QuietRuntime(ids, ids, services={"field-data": KvsFieldData(UserStateKeyValueStore(client, user))})


def view(client: InMemoryXBlockUserStateClient, user: Any = ADA) -> QuizBlock:
    """Return the block as a new request sees it."""
    return QuizBlock(runtime=runtime_of(client, user), scope_ids=ScopeIds(user.id, "quiz", KEY, KEY))


def test_fields_of_all_scopes_are_there_at_the_next_view(client: InMemoryXBlockUserStateClient) -> None:
    block = view(client)
    block.attempts = 2
    block.votes = [1, 0]
    block.large_print = True
    block.language = "is"
    block.save()
    again = view(client)
    assert (again.attempts, again.votes, again.large_print, again.language) == (2, [1, 0], True, "is")


def test_blocks_and_asides_share_a_field_of_user_info(client: InMemoryXBlockUserStateClient) -> None:
    aside_key = AsideUsageKeyV2(make_block("other", "poll"), "greeting_aside")
    ids = ScopeIds(ADA.id, "greeting_aside", aside_key, aside_key)
    aside = GreetingAside(runtime=runtime_of(client), scope_ids=ids)
    aside.language = "is"
    aside.save()
    assert view(client).language == "is"
    assert client.get("ada", None, Scope.user_info).state == {"language": "is"}


def test_fields_have_their_defaults_where_nothing_was_saved(client: InMemoryXBlockUserStateClient) -> None:
    block = view(client)
    assert (block.attempts, block.answers, block.score, block.votes, block.language) == (0, {}, None, [], "en")


def test_scores_are_scores_again_at_the_next_view(client: InMemoryXBlockUserStateClient) -> None:
    block = view(client)
    block.score = Score(raw_earned=1, raw_possible=2)
    block.scores = [Score(raw_earned=0, raw_possible=2), block.score]
    block.save()
    again = view(client)
    assert again.score == Score(1, 2)
    assert again.scores == [Score(0, 2), Score(1, 2)]


def test_a_change_inside_of_a_dict_is_saved(client: InMemoryXBlockUserStateClient) -> None:
    block = view(client)
    block.answers = {"1": ["a"]}
    block.save()
    again = view(client)
    again.answers["1"].append("b")
    again.save()
    assert view(client).answers == {"1": ["a", "b"]}


def test_saving_what_was_only_looked_at_changes_nothing(client: InMemoryXBlockUserStateClient) -> None:
    block = view(client)
    block.answers = {"1": "a"}
    block.save()
    again = view(client)
    assert again.answers == {"1": "a"}
    again.save()
    assert len(list(client.get_history("ada", KEY))) == 1


def test_a_deleted_field_has_its_default_again(client: InMemoryXBlockUserStateClient) -> None:
    block = view(client)
    block.attempts = 2
    block.save()
    again = view(client)
    del again.attempts
    assert again.attempts == 0
    assert view(client).attempts == 0


def test_a_block_that_could_not_be_saved_stays_dirty(client: InMemoryXBlockUserStateClient) -> None:
    block = view(client, AnonymousUser())
    block.attempts = 2
    block.votes = [1]
    with pytest.raises(XBlockSaveError) as caught:
        block.save()
    assert caught.value.saved_fields == []
    assert {field.name for field in caught.value.dirty_fields} == {"attempts", "votes"}
    assert view(client).votes == []

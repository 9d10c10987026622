"""Grants of tokens never allow more than they say, and never more than the host's policy."""

from __future__ import annotations

from contextlib import nullcontext, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from tests.policies import Asked, refuse
from xblock_user_state.access import Action, Question
from xblock_user_state.interface import Learner, PermissionDenied, UserId
from xblock_user_state.service.grants import ACTIONS, COURSE, OWN, TokenPolicy, parse_scopes

COURSES = [
    LearningContextKey.from_string(text)
    for text in ("course-v1:Sky+Astro101+2026", "course-v1:Sky+Astro101+2027", "Sky/Old/2012", "lib:Sky:stars")
]
MOON = UsageKey.from_string("block-v1:Sky+Astro101+2026+type@problem+block@moon")

learners = st.sampled_from(["ada", "ben", "", None, UserId(1)])
contexts = st.sampled_from([*COURSES, None])
scopes = st.lists(st.sampled_from([*ACTIONS, OWN, *(f"{COURSE}{key}" for key in COURSES)]), max_size=5, unique=True)


@given(scopes, st.sampled_from(Action), learners, contexts)
def test_a_token_allows_what_all_of_its_words_allow(
    words: list[str], action: Action, username: Learner, context_key: LearningContextKey | None
) -> None:
    courses = [word for word in words if word.startswith(COURSE)]
    is_shared = username is None and action in (Action.READ, Action.WRITE)
    expected = (
        action in [ACTIONS.get(word) for word in words]
        and (not courses or f"{COURSE}{context_key}" in courses)
        and (OWN not in words or username == "ada" or is_shared)
    )
    host = Asked()
    policy = TokenPolicy(parse_scopes(" ".join(words)), host)
    with nullcontext() if expected else pytest.raises(PermissionDenied, match="the token "):
        assert policy.may("ada", action, username, context_key, MOON)
    # The host is not asked about acts that the token does not grant.
    assert host.questions == ([Question("ada", action, username, context_key, MOON)] if expected else [])


@given(scopes, st.sampled_from(Action), learners, contexts)
def test_a_token_allows_nothing_that_the_host_refuses(
    words: list[str], action: Action, username: Learner, context_key: LearningContextKey | None
) -> None:
    policy = TokenPolicy(parse_scopes(" ".join(words)), Asked(refuse))
    with suppress(PermissionDenied):
        assert not policy.may("ada", action, username, context_key, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("course-v1:Sky+Astro101+2026+branch@draft", True), ("Sky/Astro101/2026", False)],
)
def test_a_course_is_the_same_in_each_branch(text: str, expected: bool) -> None:
    grants = parse_scopes(f"state:read {COURSE}{COURSES[0]}")
    with nullcontext() if expected else pytest.raises(PermissionDenied, match="for other courses"):
        grants.check(Question("ada", Action.READ, "ben", LearningContextKey.from_string(text)))


@pytest.mark.parametrize(
    "scope", ["State:read", "state:*", "course:", "course:*", "course:Sky/Old", "own:ada", "openid"]
)
def test_an_unknown_word_is_an_error(scope: str) -> None:
    with pytest.raises(ValueError, match="is not a scope"):
        parse_scopes(f"state:read {scope}")

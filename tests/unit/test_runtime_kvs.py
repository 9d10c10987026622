"""`UserStateKeyValueStore`: the fields of blocks and asides over the in-memory client."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.block_types import BlockTypeKeyV1
from opaque_keys.edx.keys import UsageKey
from xblock.exceptions import InvalidScopeError, KeyValueMultiSaveError
from xblock.fields import BlockScope, Scope, UserScope
from xblock.runtime import KeyValueStore

from tests.factories import ADA, BEN, COURSE, make_block
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore

BLOCK = make_block()
ASIDE = AsideUsageKeyV2(BLOCK, "notes_aside")
LEARNER_SCOPES = (Scope.user_state, Scope.user_state_summary, Scope.preferences, Scope.user_info)


@pytest.fixture
def client() -> InMemoryXBlockUserStateClient:
    return InMemoryXBlockUserStateClient()


def key(
    scope: Scope, field: str = "color", block: Any = BLOCK, user: User = ADA, family: str = "xblock.v1"
) -> KeyValueStore.Key:
    """Return the key that XBlock makes for a field of this block or aside."""
    scope_id = {BlockScope.ALL: None, BlockScope.TYPE: block.block_type, BlockScope.USAGE: block}[scope.block]
    user_id = user.id if scope.user == UserScope.ONE else None
    return KeyValueStore.Key(scope, user_id, scope_id, field, family)


@pytest.mark.parametrize("scope", LEARNER_SCOPES)
def test_a_value_is_read_as_it_was_set(kvs: UserStateKeyValueStore, scope: Scope) -> None:
    kvs.set(key(scope), ["red", None, 1.5])
    assert kvs.has(key(scope))
    assert kvs.get(key(scope)) == ["red", None, 1.5]


@pytest.mark.parametrize(
    ("scope", "block_key"),
    [
        (Scope.user_state, BLOCK),
        (Scope.user_state_summary, BLOCK),
        (Scope.preferences, "problem"),
        (Scope.user_info, None),
    ],
)
def test_each_scope_has_its_place_in_the_client(
    client: InMemoryXBlockUserStateClient, kvs: UserStateKeyValueStore, scope: Scope, block_key: UsageKey | str | None
) -> None:
    kvs.set_many({key(scope): "red"})
    assert client.get("ada", block_key, scope).state == {"color": "red"}


@pytest.mark.parametrize("scope", LEARNER_SCOPES)
def test_what_is_absent_is_a_key_error(kvs: UserStateKeyValueStore, scope: Scope) -> None:
    kvs.set(key(scope, "size"), 1)
    assert not kvs.has(key(scope))
    with pytest.raises(KeyError, match="color"):
        kvs.get(key(scope))
    with pytest.raises(KeyError, match="color"):
        kvs.delete(key(scope))
    with pytest.raises(KeyError):
        kvs.default(key(scope))


@pytest.mark.parametrize("scope", LEARNER_SCOPES)
def test_delete_takes_one_field_at_once(kvs: UserStateKeyValueStore, scope: Scope) -> None:
    kvs.set_many({key(scope): "red", key(scope, "size"): 1})
    kvs.delete(key(scope))
    assert not kvs.has(key(scope))
    assert kvs.get(key(scope, "size")) == 1


@pytest.mark.parametrize("scope", [Scope.content, Scope.settings, Scope.children, Scope.parent])
def test_what_authors_write_belongs_elsewhere(kvs: UserStateKeyValueStore, scope: Scope) -> None:
    authored = KeyValueStore.Key(scope, None, BLOCK, "color", "xblock.v1")
    with pytest.raises(InvalidScopeError) as caught:
        kvs.has(authored)
    assert "user_state" in caught.value.message
    with pytest.raises(InvalidScopeError):
        kvs.set_many({authored: "red"})


@pytest.mark.parametrize("scope", [Scope.user_state, Scope.preferences, Scope.user_info])
@pytest.mark.parametrize("other", [BEN, User(id=None, username="nobody")])
def test_the_state_of_another_learner_is_refused(
    client: InMemoryXBlockUserStateClient, kvs: UserStateKeyValueStore, scope: Scope, other: User
) -> None:
    UserStateKeyValueStore(client, BEN).set(key(scope, user=BEN), "blue")
    foreign = key(scope, user=other)
    for attempt in (kvs.get, kvs.has, kvs.delete):
        with pytest.raises(PermissionDenied, match=rf"'ada' \(id 7\).*'color'.*user id {other.id}"):
            attempt(foreign)
    with pytest.raises(PermissionDenied):
        kvs.set_many({key(scope): "red", foreign: "red"})
    assert not kvs.has(key(scope))


def test_a_summary_is_shared_by_all_learners(
    client: InMemoryXBlockUserStateClient, kvs: UserStateKeyValueStore
) -> None:
    kvs.set(key(Scope.user_state_summary), 3)
    assert UserStateKeyValueStore(client, BEN).get(key(Scope.user_state_summary, user=BEN)) == 3


def test_learners_do_not_share_the_other_scopes(
    client: InMemoryXBlockUserStateClient, kvs: UserStateKeyValueStore
) -> None:
    scopes = (Scope.user_state, Scope.preferences, Scope.user_info)
    kvs.set_many({key(scope): "red" for scope in scopes})
    ben = UserStateKeyValueStore(client, BEN)
    assert not any(ben.has(key(scope, user=BEN)) for scope in scopes)


def test_an_aside_has_its_own_state(kvs: UserStateKeyValueStore) -> None:
    family = "xblock_asides.v1"
    for scope in (Scope.user_state, Scope.user_state_summary):
        kvs.set_many({key(scope): "red"})
        kvs.set_many({key(scope, block=ASIDE, family=family): "blue"})
        assert kvs.get(key(scope)) == "red"
        assert kvs.get(key(scope, block=ASIDE, family=family)) == "blue"


def test_the_family_tells_preferences_of_equal_type_names_apart(
    client: InMemoryXBlockUserStateClient, kvs: UserStateKeyValueStore
) -> None:
    asides = key(Scope.preferences, family="xblock_asides.v1")
    kvs.set_many({key(Scope.preferences): "red", asides: "blue"})
    assert kvs.get(key(Scope.preferences)) == "red"
    assert kvs.get(asides) == "blue"
    stored = client.get("ada", BlockTypeKeyV1("xblock_asides.v1", "problem"), Scope.preferences)
    assert stored.state == {"color": "blue"}


def test_a_block_and_an_aside_share_user_info_of_one_name(
    client: InMemoryXBlockUserStateClient, kvs: UserStateKeyValueStore
) -> None:
    asides = key(Scope.user_info, block=ASIDE, family="xblock_asides.v1")
    kvs.set(key(Scope.user_info), "red")
    assert kvs.get(asides) == "red"
    kvs.set(asides, "blue")
    assert UserStateKeyValueStore(client, ADA).get(key(Scope.user_info, block=make_block("x", "video"))) == "blue"


def test_a_value_that_was_read_is_the_readers_own(kvs: UserStateKeyValueStore) -> None:
    written = {"colors": ["red"]}
    kvs.set(key(Scope.user_state), written)
    written["colors"].append("blue")
    kvs.get(key(Scope.user_state))["colors"].append("green")
    assert kvs.get(key(Scope.user_state)) == {"colors": ["red"]}


def test_one_save_of_many_fields_is_one_change(
    client: InMemoryXBlockUserStateClient, kvs: UserStateKeyValueStore
) -> None:
    kvs.set_many({key(Scope.user_state, name): 1 for name in ("attempts", "seed", "done")})
    history = list(client.get_history("ada", BLOCK))
    assert [entry.state for entry in history] == [{"attempts": 1, "seed": 1, "done": 1}]


def test_one_save_may_name_many_scopes_and_blocks(kvs: UserStateKeyValueStore) -> None:
    other = make_block("moon")
    update = {key(scope, block=block): str(block) for scope in LEARNER_SCOPES for block in (BLOCK, other)}
    kvs.set_many(update)
    # Both blocks share user_info and preferences, so the later value counts.
    assert kvs.get(key(Scope.user_state)) == str(BLOCK)
    assert kvs.get(key(Scope.user_state, block=other)) == str(other)
    assert kvs.get(key(Scope.user_info)) == str(other)


def test_a_save_that_fails_saves_nothing_and_says_so(client: InMemoryXBlockUserStateClient) -> None:
    kvs = UserStateKeyValueStore(client, AnonymousUser())
    summary = key(Scope.user_state_summary)
    state = KeyValueStore.Key(Scope.user_state, None, BLOCK, "color", "xblock.v1")
    with pytest.raises(KeyValueMultiSaveError) as caught:
        kvs.set_many({summary: 1, state: "red"})
    assert list(caught.value.saved_field_names) == []
    assert isinstance(caught.value.__cause__, PermissionDenied)
    assert not kvs.has(summary)


def test_a_value_that_is_not_json_is_named_and_nothing_is_saved(kvs: UserStateKeyValueStore) -> None:
    with pytest.raises(TypeError, match=r"stars.*seen.*set"):
        kvs.set_many({key(Scope.user_info): "red", key(Scope.user_state, "seen"): {"moon": {1, 2}}})
    assert not kvs.has(key(Scope.user_info))


def test_an_anonymous_visitor_reads_nothing(client: InMemoryXBlockUserStateClient) -> None:
    kvs = UserStateKeyValueStore(client, AnonymousUser())
    assert not kvs.has(KeyValueStore.Key(Scope.user_state, None, BLOCK, "color", "xblock.v1"))


def test_two_keys_of_one_block_name_one_place(kvs: UserStateKeyValueStore) -> None:
    draft = make_block(course=COURSE.for_branch("draft"))
    assert not kvs.has(key(Scope.user_state, block=draft))
    kvs.set(key(Scope.user_state), "red")
    assert kvs.get(key(Scope.user_state, block=draft)) == "red"

"""`UserStateKeyValueStore` over the Django client: one save is one transaction."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext, override_settings
from opaque_keys.edx.asides import AsideUsageKeyV2
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from demo.host.services import username_of
from tests import citus
from tests.blocks import ASIDE_TYPE, PageRuntime, make_page
from tests.factories import make_block, make_blocks, make_learners
from tests.integration.statements import captured, verbs
from tests.policies import Asked
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.runtime import UserStateKeyValueStore, UserStateService

pytestmark = pytest.mark.django_db

BLOCK = make_block()


@pytest.fixture
def ada() -> User:
    return make_learners("ada")[0]


@pytest.fixture
def kvs(ada: User) -> UserStateKeyValueStore:
    return UserStateKeyValueStore(DjangoXBlockUserStateClient(ada), ada)


def test_fields_of_blocks_and_asides_in_all_scopes(ada: User, kvs: UserStateKeyValueStore) -> None:
    aside = AsideUsageKeyV2(BLOCK, "notes_aside")
    places = [
        (Scope.user_state, ada.id, BLOCK, "xblock.v1"),
        (Scope.user_state, ada.id, aside, "xblock_asides.v1"),
        (Scope.user_state_summary, None, BLOCK, "xblock.v1"),
        (Scope.user_state_summary, None, aside, "xblock_asides.v1"),
        (Scope.preferences, ada.id, "notes", "xblock.v1"),
        (Scope.preferences, ada.id, "notes", "xblock_asides.v1"),
        (Scope.user_info, ada.id, None, "xblock.v1"),
    ]
    keys = [KeyValueStore.Key(scope, user_id, owner, "color", family) for scope, user_id, owner, family in places]
    kvs.set_many({key: number for number, key in enumerate(keys)})
    assert [kvs.get(key) for key in keys] == list(range(len(keys)))


def test_an_answer_and_its_score_are_one_revision(ada: User, kvs: UserStateKeyValueStore) -> None:
    ids, [quiz] = make_page("quiz")
    with override_settings(XBLOCK_USER_STATE={"RECORDED_BLOCK_TYPES": "*"}), kvs.unit_of_work():
        PageRuntime(kvs, ada, ids).submit(quiz, "red")
    module = StudentModule.objects.get(student=ada)
    assert (module.revision, module.grade, module.max_grade) == (1, 1, 2)
    [entry] = StudentModuleHistory.get_history([module])
    assert (entry.state, entry.grade, entry.actor_id) == (module.state, 1, ada.id)


def test_a_masquerade_writes_nothing(ada: User) -> None:
    ids, [quiz, poll] = make_page("quiz", "poll")
    PageRuntime(UserStateKeyValueStore(DjangoXBlockUserStateClient(ada), ada), ada, ids).submit(quiz, "blue")
    session: dict[str, Any] = {}
    kvs = UserStateKeyValueStore(DjangoXBlockUserStateClient(ada), ada, session=session)
    runtime = PageRuntime(kvs, ada, ids)
    with captured() as statements:
        kvs.prefetch(map(runtime.get_block, (quiz, poll)))
        with kvs.unit_of_work():
            runtime.get_block(quiz).render("student_view")
            runtime.submit(quiz, "red")
            runtime.submit(quiz, "a note", ASIDE_TYPE)
        runtime.submit(poll, "red")
        del runtime.get_block(quiz).attempts
    # On Citus, shared fields are on another server.
    assert verbs(statements) == ["SELECT"] * (2 if citus.DIALECT == "citus" else 1)
    assert session
    assert runtime.get_block(quiz).answers == {"1": "red"}
    assert DjangoXBlockUserStateClient(ada).get("ada", quiz).state == {"attempts": 1, "answers": {"1": "blue"}}


def test_a_read_is_one_statement(ada: User, kvs: UserStateKeyValueStore) -> None:
    with CaptureQueriesContext(connection) as statements:
        assert not kvs.has(KeyValueStore.Key(Scope.user_state, ada.id, BLOCK, "seed"))
    assert len(statements) == 1


def test_the_states_of_several_blocks_are_one_statement(ada: User) -> None:
    client, blocks = DjangoXBlockUserStateClient(ada), make_blocks(5)
    client.set_many("ada", {key: {"a": 1} for key in blocks})
    with CaptureQueriesContext(connection) as statements:
        assert UserStateService(client, "ada").get_states("ada", blocks) == {key: {"a": 1} for key in blocks}
    assert len(statements) == 1


@pytest.mark.parametrize("name", ["ada", "ada@example.com", "both@example.com", "both", "nobody"])
def test_the_demo_finds_a_learner_by_name_or_address(name: str) -> None:
    for username, email in {
        "ada": "ada@example.com",
        "both": "both@example.com",
        "both@example.com": "other@example.com",
    }.items():
        User.objects.create(username=username, email=email)
    # The address of the one is the name of the other.
    assert username_of(name) == {"ada": "ada", "ada@example.com": "ada", "both": "both"}.get(name)


def test_an_unknown_learner_has_an_empty_state(ada: User) -> None:
    service = UserStateService(DjangoXBlockUserStateClient(ada), "staff", Asked(), username_of=username_of)
    assert service.get_state_as_dict("nobody", str(BLOCK)) == {}
    assert service.get_state_as_dict("ada", str(BLOCK)) == {}


def write_both(kvs: UserStateKeyValueStore, user: User) -> None:
    """Be a handler that writes a table of its block's own and a field, and fails."""
    with kvs.unit_of_work():
        Group.objects.create(name="written")
        kvs.set(KeyValueStore.Key(Scope.user_state, user.pk, BLOCK, "seed"), 1)
        raise RuntimeError


def test_tables_of_blocks_are_not_in_the_unit(ada: User, kvs: UserStateKeyValueStore) -> None:
    with pytest.raises(RuntimeError):
        write_both(kvs, ada)
    assert Group.objects.filter(name="written").exists()
    assert not StudentModule.objects.exists()


def test_a_transaction_around_the_unit_covers_them_too(ada: User, kvs: UserStateKeyValueStore) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        write_both(kvs, ada)
    assert not Group.objects.filter(name="written").exists()
    assert not StudentModule.objects.exists()

"""`UserStateKeyValueStore` over the Django client: one save is one transaction."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings
from opaque_keys.edx.asides import AsideUsageKeyV2
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from tests.blocks import PageRuntime, make_page
from tests.factories import make_block, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.runtime import UserStateKeyValueStore

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


def test_a_read_is_one_statement(ada: User, kvs: UserStateKeyValueStore) -> None:
    with CaptureQueriesContext(connection) as statements:
        assert not kvs.has(KeyValueStore.Key(Scope.user_state, ada.id, BLOCK, "seed"))
    assert len(statements) == 1

"""Concurrent requests of one learner, as from two tabs: saves of one block lose nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.db import connections
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from tests.factories import make_block, make_learners
from tests.integration.rows import assert_history_is_gapless
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule
from xblock_user_state.runtime import UserStateKeyValueStore

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()
TABS = 5
ROUNDS = 4


def _key(user: User, name: str) -> KeyValueStore.Key:
    return KeyValueStore.Key(Scope.user_state, user.pk, BLOCK, name, "xblock.v1")


def _save(user: User, tab: int, all_have_read: Barrier) -> None:
    """Act as a request: read the block, and save a field after all requests have read it."""
    try:
        kvs = UserStateKeyValueStore(DjangoXBlockUserStateClient(user), user)
        field = _key(user, f"tab{tab}")
        value = kvs.get(field) if kvs.has(field) else 0
        all_have_read.wait(30)
        with kvs.unit_of_work():
            kvs.set_many({field: value + 1})
    finally:
        connections.close_all()


def test_fields_that_several_requests_save_at_once_are_all_there() -> None:
    [ada] = make_learners("ada")
    for _ in range(ROUNDS):
        all_have_read = Barrier(TABS)
        with ThreadPoolExecutor(TABS) as tabs:
            list(tabs.map(_save, [ada] * TABS, range(TABS), [all_have_read] * TABS))
    state = DjangoXBlockUserStateClient(ada).get("ada", BLOCK).state
    assert state == {f"tab{tab}": ROUNDS for tab in range(TABS)}
    assert StudentModule.objects.get().revision == TABS * ROUNDS
    assert_history_is_gapless()

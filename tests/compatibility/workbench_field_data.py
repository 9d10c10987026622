"""Field data of a workbench over our store, for its setting ``WORKBENCH["services"]["field-data"]``.

The workbench creates it without arguments for each request. It has neither accounts nor opaque keys: the student is any
text in the address, and a usage id is ``scenario.type.d0.u0``. Therefore each student becomes an account at first
sight, and each usage a block of one course.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.keys import UsageKey
from opaque_keys.edx.locator import CourseLocator
from workbench.runtime import WORKBENCH_KVS, WorkbenchRuntime
from xblock.core import XBlockAside
from xblock.field_data import SplitFieldData
from xblock.fields import BlockScope, Scope
from xblock.runtime import DictKeyValueStore, KeyValueStore, KvsFieldData

from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore

COURSE = CourseLocator("XBlock", "Workbench", "Stock")
AUTHORED_SCOPES = (Scope.content, Scope.settings, Scope.children, Scope.parent)
LEARNER_SCOPES = (Scope.user_state, Scope.user_state_summary, Scope.preferences, Scope.user_info)


class WorkbenchFieldData(SplitFieldData):
    """Keeps authored fields in the workbench's store and learners' fields in ours."""

    # The workbench sets it after the constructor.
    runtime: WorkbenchRuntime

    def __init__(self) -> None:
        authored, learner = KvsFieldData(WORKBENCH_KVS), KvsFieldData(WorkbenchLearnerStore(self))
        super().__init__(dict.fromkeys(AUTHORED_SCOPES, authored) | dict.fromkeys(LEARNER_SCOPES, learner))


class WorkbenchLearnerStore(KeyValueStore):
    """Passes each key to the current learner's store, with a usage key in place of the workbench's text."""

    def __init__(self, field_data: WorkbenchFieldData) -> None:
        self._field_data = field_data

    def get(self, key: KeyValueStore.Key) -> Any:
        return self._store.get(self._translated(key))

    def set(self, key: KeyValueStore.Key, value: Any) -> None:
        self._store.set(self._translated(key), value)

    def set_many(self, update_dict: Mapping[KeyValueStore.Key, Any]) -> None:
        self._store.set_many({self._translated(key): value for key, value in update_dict.items()})

    def delete(self, key: KeyValueStore.Key) -> None:
        self._store.delete(self._translated(key))

    def has(self, key: KeyValueStore.Key) -> bool:
        return bool(self._store.has(self._translated(key)))

    @cached_property
    def _store(self) -> KeyValueStore:
        # Loading a scenario sets learners' fields without a learner; nobody needs these values later.
        if self._user is None:
            return DictKeyValueStore()
        return UserStateKeyValueStore(DjangoXBlockUserStateClient(self._user), self._user)

    @cached_property
    def _user(self) -> AbstractUser | None:
        name = self._field_data.runtime.user_id
        return get_user_model().objects.get_or_create(username=name)[0] if name else None

    def _translated(self, key: KeyValueStore.Key) -> KeyValueStore.Key:
        owner = key.block_scope_id
        if key.scope.block == BlockScope.USAGE:
            owner = usage_key(owner, is_aside=key.block_family == XBlockAside.entry_point)
        user_id = self._user.pk if self._user and key.user_id else None
        return key._replace(user_id=user_id, block_scope_id=owner)


def usage_key(usage: str, *, is_aside: bool) -> UsageKey:
    """Return the key of ``scenario.type.d0.u0``, or of an aside, whose type follows as one more part."""
    if is_aside:
        usage, _, aside_type = usage.rpartition(".")
        return AsideUsageKeyV2(usage_key(usage, is_aside=False), aside_type)
    block_type = usage.split(".")[1]
    return COURSE.make_usage_key(block_type, usage)

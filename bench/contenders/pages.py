"""Requests of a learner for the unit of `bench.site.unit`: through this package, the reference, and neither."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from opaque_keys.edx.keys import UsageKey
from web_fragments.fragment import Fragment
from xblock.core import XBlock
from xblock.runtime import DictKeyValueStore, KeyValueStore, KvsFieldData

from bench.contenders import IN_MEMORY, OURS, REFERENCE
from bench.contenders.reference_caches import FieldCaches, set_score
from bench.contenders.reference_models import (
    PreferencesField,
    StudentModule,
    StudentModuleHistory,
    SummaryField,
    UserInfoField,
)
from bench.contenders.tables import create_tables
from bench.site.unit import ASIDE_TYPE, KEYS, UnitRuntime, request_of
from xblock_user_state.hosting import store_for
from xblock_user_state.runtime import UsageKeyIds, UserStateRuntime, run_guarded, split_field_data


class Pages(ABC):
    """A host's view and handler. `user` is a Django user."""

    def create(self) -> None:  # noqa: B027 - the package's tables are there
        """Create the tables."""

    @abstractmethod
    def view(self, user: Any) -> str:
        """Return the unit as the learner sees it."""

    @abstractmethod
    def submit(self, user: Any, key: UsageKey, answer: str) -> None:
        """Let a block handle an answer."""


class _OwnRuntime(UnitRuntime, UserStateRuntime):
    """This package's runtime for one request."""


class Ours(Pages):
    """Views and handlers as the package's guide shows them: in guarded units of work."""

    def view(self, user: Any) -> str:
        return str(run_guarded(lambda: _own_runtime(user).render_page(KEYS)).body_html())

    def submit(self, user: Any, key: UsageKey, answer: str) -> None:
        run_guarded(lambda: _own_runtime(user).run_handler(key, "submit", request_of(answer)))


def _own_runtime(user: Any) -> _OwnRuntime:
    return _OwnRuntime(KvsFieldData(DictKeyValueStore()), store_for(user))


class _PlainRuntime(UnitRuntime):
    """XBlock's own runtime over any key-value store, for one request."""

    # XBlock deprecated this attribute, but still reads the learner's id from it.
    user_id: Any = None

    def __init__(self, learner_fields: KeyValueStore, user_id: Any) -> None:
        ids = UsageKeyIds()
        fields = split_field_data(KvsFieldData(DictKeyValueStore()), KvsFieldData(learner_fields))
        super().__init__(ids, ids, services={"field-data": fields})
        self.user_id = user_id

    def publish(self, block: XBlock, event_type: str, event_data: Mapping[str, Any]) -> None:
        """Drop the event."""


class _ReferenceRuntime(_PlainRuntime):
    def __init__(self, user: Any) -> None:
        self.caches = FieldCaches(user, [ASIDE_TYPE])
        super().__init__(self.caches, user.pk)
        self._user = user

    def publish(self, block: XBlock, event_type: str, event_data: Mapping[str, Any]) -> None:
        """Store the score at once, apart from the block's fields."""
        set_score(self._user, block.scope_ids.usage_id, event_data["value"], event_data["max_value"])


class Reference(Pages):
    """Fills the caches before a request, which runs in one transaction, as the platform's do."""

    def create(self) -> None:
        create_tables(StudentModule, StudentModuleHistory, PreferencesField, UserInfoField, SummaryField)

    @transaction.atomic
    def view(self, user: Any) -> str:
        runtime = _ReferenceRuntime(user)
        blocks = [runtime.get_block(key) for key in KEYS]
        runtime.caches.fill(blocks)
        return _rendered(blocks)

    @transaction.atomic
    def submit(self, user: Any, key: UsageKey, answer: str) -> None:
        runtime = _ReferenceRuntime(user)
        block = runtime.get_block(key)
        runtime.caches.fill([block])
        runtime.handle(block, "submit", request_of(answer))


class InMemory(Pages):
    """Keeps values in a dictionary of the process: the time of XBlock and of the blocks themselves."""

    def __init__(self) -> None:
        self._values = DictKeyValueStore()

    def view(self, user: Any) -> str:
        runtime = _PlainRuntime(self._values, user.pk)
        return _rendered([runtime.get_block(key) for key in KEYS])

    def submit(self, user: Any, key: UsageKey, answer: str) -> None:
        runtime = _PlainRuntime(self._values, user.pk)
        runtime.handle(runtime.get_block(key), "submit", request_of(answer))


def _rendered(blocks: list[XBlock]) -> str:
    page = Fragment()
    for block in blocks:
        page.add_content(block.render("student_view").content)
    return str(page.body_html())


ALL: Mapping[str, type[Pages]] = {OURS: Ours, REFERENCE: Reference, IN_MEMORY: InMemory}

"""The layer that the package replaces between blocks and tables, built from its description.

Before a page, each of four caches is filled by one statement: with the states of the blocks, and with the fields of
three tables that keep one field in a row. A field that is in no cache has no value. A block that is saved writes its
state row, and each of its fields in the other scopes, one after the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from django.db.models import QuerySet
from opaque_keys.edx.asides import AsideUsageKeyV1, AsideUsageKeyV2
from xblock.core import XBlock
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from bench.contenders.reference import dumps, get_many, loads, write_many
from bench.contenders.reference_models import PreferencesField, StudentModule, SummaryField, UserInfoField

Fields = Mapping[KeyValueStore.Key, Any]


class Cache(Protocol):
    """The values of one scope."""

    def fill(self, names: Collection[str], blocks: Sequence[XBlock]) -> None:
        """Read the values of these blocks: one statement."""

    def get(self, key: KeyValueStore.Key) -> Any:
        """Return a value; raises ``KeyError`` if there is none."""

    def set_many(self, fields: Fields) -> None:
        """Write the fields of one block."""


class FieldCaches(KeyValueStore):
    """A key-value store over the caches of a learner's request."""

    def __init__(self, user: Any, aside_types: Collection[str]) -> None:
        self._caches: Mapping[Scope, Cache] = {
            Scope.user_state: _States(user, aside_types),
            Scope.preferences: _Preferences(user, aside_types),
            Scope.user_info: _UserInfo(user, aside_types),
            Scope.user_state_summary: _Summaries(user, aside_types),
        }

    def fill(self, blocks: Sequence[XBlock]) -> None:
        """Fill the caches of the scopes in which the blocks have fields. Fields of their asides are not asked for."""
        names: dict[Scope, set[str]] = defaultdict(set)
        for block in blocks:
            for field in block.fields.values():
                names[field.scope].add(field.name)
        for scope, cache in self._caches.items():
            if names[scope]:
                cache.fill(names[scope], blocks)

    def get(self, key: KeyValueStore.Key) -> Any:
        return self._caches[key.scope].get(key)

    def has(self, key: KeyValueStore.Key) -> bool:
        try:
            self.get(key)
        except KeyError:
            return False
        return True

    def set(self, key: KeyValueStore.Key, value: Any) -> None:
        self.set_many({key: value})

    def set_many(self, update_dict: Fields) -> None:
        by_scope: dict[Scope, dict[KeyValueStore.Key, Any]] = defaultdict(dict)
        for key, value in update_dict.items():
            by_scope[key.scope][key] = value
        for scope, fields in by_scope.items():
            self._caches[scope].set_many(fields)

    def delete(self, key: KeyValueStore.Key) -> None:
        raise NotImplementedError("the benchmark deletes no field")


class _States:
    """``user_state``: whole states, through the reference's client."""

    def __init__(self, user: Any, aside_types: Collection[str]) -> None:
        self._user, self._aside_types = user, aside_types
        self._states: dict[Any, dict[str, Any]] = {}

    def fill(self, _names: Collection[str], blocks: Sequence[XBlock]) -> None:
        keys = list(_usage_keys(blocks, self._aside_types))
        for _, key, state, _ in get_many(self._user.get_username(), keys):
            self._states[key] = state

    def get(self, key: KeyValueStore.Key) -> Any:
        return self._states[key.block_scope_id][key.field_name]

    def set_many(self, fields: Fields) -> None:
        by_block: dict[Any, dict[str, Any]] = defaultdict(dict)
        for key, value in fields.items():
            by_block[key.block_scope_id][key.field_name] = value
        write_many(self._user, by_block)
        # The original forgets the block's other fields here.
        for block, state in by_block.items():
            self._states.setdefault(block, {}).update(state)


class _Rows:
    """A scope whose table has a row for each field."""

    def __init__(self, user: Any, aside_types: Collection[str]) -> None:
        self._user, self._aside_types = user, aside_types
        self._rows: dict[tuple[Any, str], Any] = {}

    def fill(self, names: Collection[str], blocks: Sequence[XBlock]) -> None:
        for row in self._stored(names, blocks):
            self._rows[self._owner(row), row.field_name] = row

    def get(self, key: KeyValueStore.Key) -> Any:
        return loads(self._rows[self._asked(key), key.field_name].value)

    def set_many(self, fields: Fields) -> None:
        """Insert the rows that are not cached, and update the others, one by one."""
        for key, value in sorted(fields.items(), key=lambda item: item[0].field_name):
            place, text = (self._asked(key), key.field_name), dumps(value)
            if place in self._rows:
                self._rows[place].value = text
                self._rows[place].save(force_update=True)
            else:
                self._rows[place] = self._new(key)
                self._rows[place].value = text
                self._rows[place].save(force_insert=True)

    def _stored(self, names: Collection[str], blocks: Sequence[XBlock]) -> QuerySet[Any]:
        raise NotImplementedError

    def _owner(self, row: Any) -> Any:
        """Return the owner of a row: what distinguishes two rows of one field."""
        raise NotImplementedError

    def _asked(self, key: KeyValueStore.Key) -> Any:
        """Return the owner of the row that a key names."""
        raise NotImplementedError

    def _new(self, key: KeyValueStore.Key) -> Any:
        raise NotImplementedError


class _Preferences(_Rows):
    def _stored(self, names: Collection[str], blocks: Sequence[XBlock]) -> QuerySet[Any]:
        types = {block.scope_ids.block_type for block in blocks} | {*self._aside_types}
        return PreferencesField._base_manager.filter(student=self._user.pk, module_type__in=types, field_name__in=names)

    def _owner(self, row: PreferencesField) -> str:
        return row.module_type

    def _asked(self, key: KeyValueStore.Key) -> str:
        return str(key.block_scope_id)

    def _new(self, key: KeyValueStore.Key) -> PreferencesField:
        return PreferencesField(student=self._user, module_type=self._asked(key), field_name=key.field_name)


class _UserInfo(_Rows):
    def _stored(self, names: Collection[str], blocks: Sequence[XBlock]) -> QuerySet[Any]:
        return UserInfoField._base_manager.filter(student=self._user.pk, field_name__in=names)

    def _owner(self, row: UserInfoField) -> None:
        return None

    def _asked(self, key: KeyValueStore.Key) -> None:
        return None

    def _new(self, key: KeyValueStore.Key) -> UserInfoField:
        return UserInfoField(student=self._user, field_name=key.field_name)


class _Summaries(_Rows):
    def _stored(self, names: Collection[str], blocks: Sequence[XBlock]) -> QuerySet[Any]:
        keys = [*_usage_keys(blocks, self._aside_types)]
        return SummaryField._base_manager.filter(usage_id__in=keys, field_name__in=names)

    def _owner(self, row: SummaryField) -> Any:
        return row.usage_id

    def _asked(self, key: KeyValueStore.Key) -> Any:
        return key.block_scope_id

    def _new(self, key: KeyValueStore.Key) -> SummaryField:
        return SummaryField(usage_id=key.block_scope_id, field_name=key.field_name)


def set_score(user: Any, key: Any, grade: float, max_grade: float) -> None:
    """Store a score: look up the row, and save all of its columns with a history entry."""
    module, is_new = StudentModule._base_manager.get_or_create(
        student=user,
        course_id=key.context_key,
        module_state_key=key,
        defaults={"grade": grade, "max_grade": max_grade, "module_type": key.block_type},
    )
    if not is_new:
        module.grade, module.max_grade = grade, max_grade
        module.save()


def _usage_keys(blocks: Iterable[XBlock], aside_types: Iterable[str]) -> Iterator[Any]:
    """Yield the key of each block, and the two forms of the key of each aside that it may have."""
    types = list(aside_types)
    for block in blocks:
        key = block.scope_ids.usage_id
        yield key
        for aside_type in types:
            yield AsideUsageKeyV1(key, aside_type)
            yield AsideUsageKeyV2(key, aside_type)

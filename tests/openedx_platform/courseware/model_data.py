"""The caches of a request, and functions for scores."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from opaque_keys.edx.block_types import BlockTypeKeyV1
from xblock.fields import Scope

from tests.openedx_platform.courseware.models import (
    StudentModule,
    XModuleStudentInfoField,
    XModuleStudentPrefsField,
    XModuleUserStateSummaryField,
)
from tests.openedx_platform.courseware.user_state_client import DjangoXBlockUserStateClient


class StateCache:
    def __init__(self, user: Any) -> None:
        self.user = user
        self._client = DjangoXBlockUserStateClient(user)
        self._states: dict[Any, dict[str, Any]] = defaultdict(dict)

    def cache_fields(self, fields: Any, xblocks: Iterable[Any], aside_types: Any) -> None:
        for found in self._client.get_many(self.user.username, [block.scope_ids.usage_id for block in xblocks]):
            self._states[found.block_key] = found.state or {}

    def get(self, key: Any) -> Any:
        return self._states[key.block_scope_id][key.field_name]

    def set_many(self, values: Mapping[Any, Any]) -> None:
        changes: dict[Any, dict[str, Any]] = defaultdict(dict)
        for key, value in values.items():
            changes[key.block_scope_id][key.field_name] = value
        self._client.set_many(self.user.username, changes)
        for block_key, fields in changes.items():
            self._states[block_key].update(fields)

    def delete(self, key: Any) -> None:
        self._client.delete_many(self.user.username, [key.block_scope_id], fields=[key.field_name])


class FieldRows:
    def __init__(self, model: Any, user: Any = None) -> None:
        self._model, self._user = model, user

    def cache_fields(self, fields: Any, xblocks: Iterable[Any], aside_types: Any) -> None:
        """Read nothing before it is asked for."""

    def get(self, key: Any) -> Any:
        return json.loads(self._model.objects.get(**self._identity(key)).value)

    def set_many(self, values: Mapping[Any, Any]) -> None:
        for key, value in values.items():
            row = self._model.objects.filter(**self._identity(key)).first() or self._model(**self._identity(key))
            row.value = json.dumps(value)
            row.save()

    def delete(self, key: Any) -> None:
        self._model.objects.get(**self._identity(key)).delete()

    def _identity(self, key: Any) -> dict[str, Any]:
        identity = {"field_name": key.field_name}
        if self._model is XModuleUserStateSummaryField:
            return {**identity, "usage_id": key.block_scope_id}
        identity["student"] = self._user
        if self._model is XModuleStudentPrefsField:
            identity["module_type"] = BlockTypeKeyV1(key.block_family, key.block_scope_id)
        return identity


class FieldDataCache:
    def __init__(
        self, blocks: Iterable[Any], course_id: Any, user: Any, asides: Any = None, read_only: bool = False
    ) -> None:
        self.course_id, self.user, self.read_only, self.asides = course_id, user, read_only, asides or []
        self.cache: dict[Scope, Any] = {
            Scope.user_state: StateCache(user),
            Scope.user_info: FieldRows(XModuleStudentInfoField, user),
            Scope.preferences: FieldRows(XModuleStudentPrefsField, user),
            Scope.user_state_summary: FieldRows(XModuleUserStateSummaryField),
        }
        self.add_blocks_to_cache(blocks)

    def add_blocks_to_cache(self, blocks: Iterable[Any]) -> None:
        blocks = list(blocks)
        declared: dict[Scope, list[Any]] = defaultdict(list)
        for block in blocks:
            for field in block.fields.values():
                declared[field.scope].append(field)
        if self.user.is_authenticated:
            for scope in self.cache.keys() & declared.keys():
                self.cache[scope].cache_fields(declared[scope], blocks, self.asides)

    def get(self, key: Any) -> Any:
        return self.cache[key.scope].get(key)

    def set_many(self, values: Mapping[Any, Any]) -> None:
        if not self.read_only:
            by_scope: dict[Scope, dict[Any, Any]] = defaultdict(dict)
            for key, value in values.items():
                by_scope[key.scope][key] = value
            for scope, some in by_scope.items():
                self.cache[scope].set_many(some)

    def delete(self, key: Any) -> None:
        if not self.read_only:
            self.cache[key.scope].delete(key)


class ScoresClient:
    class Score(NamedTuple):
        correct: float | None
        total: float | None
        created: Any

    def __init__(self, course_key: Any, user_id: Any) -> None:
        self.course_key, self.user_id = course_key, user_id
        self._locations_to_scores: dict[Any, Any] = {}

    def fetch_scores(self, locations: Collection[Any]) -> None:
        for row in StudentModule.objects.filter(student_id=self.user_id, module_state_key__in=list(locations)):
            score = self.Score(row.grade, row.max_grade, row.created)
            self._locations_to_scores[row.module_state_key.map_into_course(self.course_key)] = score

    def get(self, location: Any) -> Any:
        return self._locations_to_scores.get(location)


def set_score(user_id: Any, usage_key: Any, score: float | None, max_score: float | None) -> Any:
    row, was_created = StudentModule.objects.get_or_create(
        student_id=user_id,
        module_state_key=usage_key,
        course_id=usage_key.context_key,
        defaults={"module_type": usage_key.block_type, "grade": score, "max_grade": max_score},
    )
    if not was_created:
        row.grade, row.max_grade = score, max_score
        row.save()
    return row.modified


def get_score(user_id: Any, usage_key: Any) -> Any:
    return StudentModule.objects.filter(student_id=user_id, module_state_key=usage_key).first()

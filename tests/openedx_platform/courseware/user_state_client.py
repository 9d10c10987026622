"""The platform's client."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from xblock.fields import Scope

from tests.openedx_platform.courseware.models import BaseStudentModuleHistory, StudentModule


class Found(NamedTuple):
    username: str
    block_key: Any
    state: dict[str, Any] | None
    updated: Any
    scope: Scope


class DjangoXBlockUserStateClient:
    class DoesNotExist(Exception):
        pass

    class PermissionDenied(Exception):
        pass

    class ServiceUnavailable(Exception):
        pass

    def __init__(self, user: Any = None) -> None:
        self.user = user

    def get(self, username: str, block_key: Any) -> Found:
        for found in self.get_many(username, [block_key]):
            return found
        raise self.DoesNotExist

    def get_many(
        self,
        username: str,
        block_keys: Collection[Any],
        scope: Scope = Scope.user_state,
        fields: Collection[str] | None = None,
    ) -> Iterator[Found]:
        for row in StudentModule.objects.filter(student__username=username, module_state_key__in=list(block_keys)):
            if state := json.loads(row.state or "{}"):
                yield Found(username, row.module_state_key, state, row.modified, scope)

    def set_many(
        self, username: str, block_keys_to_state: Mapping[Any, Mapping[str, Any]], scope: Scope = Scope.user_state
    ) -> None:
        student = User.objects.get(username=username)
        for key, fields in block_keys_to_state.items():
            row = _row(student, key)
            row.state = json.dumps({**json.loads(row.state or "{}"), **fields})
            row.save()

    def delete_many(
        self,
        username: str,
        block_keys: Collection[Any],
        scope: Scope = Scope.user_state,
        fields: Collection[str] | None = None,
    ) -> None:
        for row in StudentModule.objects.filter(student__username=username, module_state_key__in=list(block_keys)):
            state = json.loads(row.state or "{}")
            row.state = json.dumps({name: state[name] for name in state if name not in (fields or state)})
            row.save()

    def get_history(self, username: str, block_key: Any, scope: Scope = Scope.user_state) -> Iterator[Found]:
        rows = StudentModule.objects.filter(student__username=username, module_state_key=block_key)
        for entry in BaseStudentModuleHistory.get_history(list(rows)):
            yield Found(username, block_key, json.loads(entry.state or "{}"), entry.created, scope)

    def iter_all_for_block(self, block_key: Any, scope: Scope = Scope.user_state) -> Iterator[Found]:
        for row in StudentModule.objects.filter(module_state_key=block_key):
            yield Found(row.student.username, block_key, json.loads(row.state or "{}"), row.modified, scope)

    def iter_all_for_course(
        self, course_key: Any, block_type: str | None = None, scope: Scope = Scope.user_state
    ) -> Iterator[Found]:
        for row in StudentModule.objects.filter(course_id=course_key):
            yield Found(row.student.username, row.module_state_key, json.loads(row.state or "{}"), row.modified, scope)


def _row(student: User, key: Any) -> StudentModule:
    identity = {"student": student, "module_state_key": key, "course_id": key.context_key}
    found = StudentModule.objects.filter(**identity).first()
    return found or StudentModule(**identity, module_type=key.block_type)

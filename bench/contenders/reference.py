"""The shape of storage that the package replaces: one row after another, through Django's ORM.

It sends the same sequence of statements. Each call runs in one transaction, as the platform's views do
(``ATOMIC_REQUESTS``); without that, every block would need its own commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import simplejson
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db import models, transaction
from django.db.models.signals import post_save
from django.dispatch import receiver
from opaque_keys.edx.keys import UsageKey

from bench.contenders.base import Call, Contender
from bench.contenders.reference_models import StudentModule, StudentModuleHistory
from bench.contenders.tables import create_tables
from bench.site.data import Block, Learner, State, course_key
from bench.site.filling import Rows

KEYS_OF_STATEMENT = 500
ROWS_OF_PAGE = 5000

# simplejson allowed NaN by default before version 4.
dumps = partial(simplejson.dumps, allow_nan=True)
loads = partial(simplejson.loads, allow_nan=True)


class Reference(Contender):
    """Keeps states as JSON texts, and a full copy for each save."""

    tables = (StudentModule._meta.db_table, StudentModuleHistory._meta.db_table)

    def create(self) -> None:
        create_tables(StudentModule, StudentModuleHistory)

    def fill(self, rows: Rows) -> None:
        rows.insert(
            self.tables[0],
            {
                "module_type": "'problem'",
                "module_id": "b.usage_key",
                "student_id": "q.learner",
                "course_id": "b.course",
                "state": "s.spaced",
                "done": "'na'",
                "created": "now()",
                "modified": "now()",
            },
        )
        copied = "SELECT id, modified, state FROM bench_reference_state AS m"
        missing = "WHERE m.id > (SELECT COALESCE(MAX(h.student_module_id), 0) FROM bench_reference_history AS h)"
        with transaction.atomic(), transaction.get_connection().cursor() as cursor:
            cursor.execute(
                f"INSERT INTO bench_reference_history (student_module_id, created, state) {copied} {missing}"
            )

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        user = get_user_model()(pk=learner.id, username=learner.username)
        by_key = {block.key: fields for block, fields in states.items()}
        return lambda: _set_many(user, by_key)

    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        keys = [block.key for block in blocks]
        return lambda: list(get_many(learner.username, keys))

    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        keys = [block.key for block in blocks]
        return lambda: _delete_many(learner.username, keys)

    def entries(self, learner: Learner, block: Block) -> list[State | None]:
        """Return the recorded states, newest first; the reference looks up the module twice for each."""
        module = next(_modules(learner.username, [block.key]))
        found = StudentModuleHistory._base_manager.filter(student_module_id__in=[module.id]).order_by("-id")
        return [_entry(entry) for entry in found]

    def iterate_block(self, block: Block) -> Iterator[Any]:
        """Page through the rows by OFFSET."""
        return _iterate(StudentModule._base_manager.filter(module_state_key=block.key))

    def iterate_course(self, course: int) -> Iterator[Any]:
        """Page through the rows by OFFSET, with a join on the users that the original lacks."""
        return _iterate(StudentModule._base_manager.filter(course_id=course_key(course)))


@receiver(post_save, sender=StudentModule)
def _record(instance: StudentModule, **_: Any) -> None:
    if instance.module_type == "problem":
        StudentModuleHistory._base_manager.create(
            student_module=instance,
            version=None,
            created=instance.modified,
            state=instance.state,
            grade=instance.grade,
            max_grade=instance.max_grade,
        )


@transaction.atomic
def _set_many(user: Any, states: Mapping[UsageKey, State]) -> None:
    write_many(user, states)


def write_many(user: Any, states: Mapping[UsageKey, State]) -> None:
    """Overlay the fields of each block, one block after the other, in the transaction of the caller."""
    for key, fields in states.items():
        module, is_new = StudentModule._base_manager.get_or_create(
            student=user,
            course_id=key.context_key,
            module_state_key=key,
            defaults={"state": dumps(fields), "module_type": key.block_type},
        )
        if not is_new:
            stored = {} if module.state is None else loads(module.state)
            module.state = dumps({**stored, **fields})
            with transaction.atomic():
                module.save(force_update=True)


def _modules(username: str, keys: Sequence[UsageKey]) -> Iterator[StudentModule]:
    by_course = groupby(sorted(keys, key=_course_of), _course_of)
    for course, group in by_course:
        of_course = list(group)
        for start in range(0, len(of_course), KEYS_OF_STATEMENT):
            yield from StudentModule._base_manager.filter(
                student__username=username,
                course_id=course,
                module_state_key__in=of_course[start : start + KEYS_OF_STATEMENT],
            )


def _course_of(key: UsageKey) -> Any:
    return key.context_key


def get_many(username: str, keys: Sequence[UsageKey]) -> Iterator[tuple[Any, ...]]:
    """Yield username, key, state and time of the blocks that have a state. One statement a course."""
    for module in _modules(username, keys):
        if module.state not in (None, "{}"):
            key = module.module_state_key.map_into_course(module.course_id)
            yield username, key, loads(module.state), module.modified


@transaction.atomic
def _delete_many(username: str, keys: Sequence[UsageKey]) -> None:
    for module in _modules(username, keys):
        module.state = "{}"
        module.save(force_update=True)


def _entry(entry: StudentModuleHistory) -> State | None:
    for _ in range(2):
        StudentModule._base_manager.get(pk=entry.student_module_id)
    return None if entry.state in (None, "{}") else dict(loads(entry.state))


def _iterate(rows: models.QuerySet[StudentModule]) -> Iterator[tuple[Any, ...]]:
    pages = Paginator(rows.order_by("id").select_related("student"), ROWS_OF_PAGE)
    for number in pages.page_range:
        for module in pages.page(number).object_list:
            if module.state not in (None, "{}"):
                key = module.module_state_key.map_into_course(module.course_id)
                yield module.student.get_username(), key, loads(module.state), module.modified

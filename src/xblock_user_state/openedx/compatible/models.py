"""The compatible ``StudentModule``, for hosts without the platform's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from opaque_keys.edx.django.models import LearningContextKeyField, UsageKeyField

from xblock_user_state.fields import UtcDateTimeField
from xblock_user_state.openedx.compatible.lookups import RowNumberField
from xblock_user_state.openedx.compatible.querysets import ChunkingManager
from xblock_user_state.openedx.compatible.rows import CompatibleRow
from xblock_user_state.openedx.views.own import STUDENT_MODULE
from xblock_user_state.store.models import StudentModule


class CompatibleStudentModule(CompatibleRow, models.Model):
    """The rows of our ``StudentModule`` with the columns of the platform's, for code that was written for the latter.

    A view has them. A row has one number (`numbers`), an imported row its old id.

    .. pii: A learner's id, answers in blocks, and scores: those of ``StudentModule``, which holds the rows
    .. pii_types: id, other
    .. pii_retirement: local_api
    """

    id = RowNumberField(primary_key=True)
    module_type = models.CharField(max_length=255)
    module_state_key = UsageKeyField(max_length=255, db_column="module_id")
    # Deleting a user deletes the learner's rows and history at once (`history.deletion`).
    student = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False)
    course_id = LearningContextKeyField(max_length=255)
    state = models.TextField(null=True, blank=True)
    grade = models.FloatField(null=True, blank=True)
    max_grade = models.FloatField(null=True, blank=True)
    done = models.CharField(max_length=8, choices=StudentModule.DONE, default="na")
    created = UtcDateTimeField(editable=False)
    modified = UtcDateTimeField(editable=False)

    objects: ClassVar[Any] = ChunkingManager()

    class Meta:
        managed = False
        db_table = STUDENT_MODULE
        # Related objects are read by it.
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"learner {self.student_id}, {self.module_state_key}"

    @classmethod
    def all_submitted_problems_read_only(cls, course_id: Any) -> Any:
        """Return the rows of a course's problems that have a grade, from the alias ``read_replica`` if there is one."""
        found = cls.objects.filter(course_id=course_id, module_type="problem", grade__isnull=False)
        return found.using("read_replica") if "read_replica" in settings.DATABASES else found

    @classmethod
    def get_state_by_params(cls, course_id: Any, module_state_keys: Collection[Any], student_id: Any = None) -> Any:
        """Return the rows of some blocks of a course, of one learner or of all."""
        found = cls.objects.filter(course_id=course_id, module_state_key__in=module_state_keys)
        return found.filter(student_id=student_id) if student_id else found

    @classmethod
    def save_state(cls, student: Any, course_id: Any, module_state_key: Any, defaults: Mapping[str, Any]) -> None:
        """Set values of a learner's row, which is created if there is none. Does nothing for an anonymous learner."""
        if student.is_authenticated:
            cls.objects.update_or_create(
                student=student, course_id=course_id, module_state_key=module_state_key, defaults=defaults
            )

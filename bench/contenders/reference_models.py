"""The reference's tables, with its columns and its indexes: on PostgreSQL a state has eleven."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from opaque_keys.edx.django.models import LearningContextKeyField, UsageKeyField

# An app without migrations: only the benchmark creates and drops these tables.
APP = "bench"


class StudentModule(models.Model):
    """State and score of one learner in one block, with the keys as texts."""

    id = models.BigAutoField(primary_key=True)
    module_type = models.CharField(max_length=32, db_index=True, default="problem")
    module_state_key: Any = UsageKeyField(max_length=255, db_column="module_id")
    student = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    course_id: Any = LearningContextKeyField(max_length=255, db_index=True)
    state = models.TextField(null=True)
    grade = models.FloatField(null=True, db_index=True)
    max_grade = models.FloatField(null=True)
    done = models.CharField(max_length=8, default="na")
    created = models.DateTimeField(auto_now_add=True, db_index=True)
    modified = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        app_label = APP
        db_table = "bench_reference_state"
        unique_together: ClassVar = [("student", "module_state_key", "course_id")]
        indexes: ClassVar = [
            models.Index(fields=["module_state_key", "grade", "student"], name="bench_reference_stats")
        ]

    def __str__(self) -> str:
        return f"module {self.pk}"


class StudentModuleHistory(models.Model):
    """A full copy of the state for each save of a problem."""

    id = models.BigAutoField(primary_key=True)
    student_module = models.ForeignKey(
        StudentModule, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    student_module_id: int
    version = models.CharField(max_length=255, null=True, db_index=True)
    created = models.DateTimeField(db_index=True)
    state = models.TextField(null=True)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)

    class Meta:
        app_label = APP
        db_table = "bench_reference_history"

    def __str__(self) -> str:
        return f"entry {self.pk}"


class ScopeField(models.Model):
    """A value of one field. A table for each scope other than ``user_state``."""

    id = models.BigAutoField(primary_key=True)
    field_name = models.CharField(max_length=64, db_index=True)
    value = models.TextField(default="null")
    created = models.DateTimeField(auto_now_add=True, db_index=True)
    modified = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"field {self.field_name}"


_STUDENT: dict[str, Any] = {
    "to": settings.AUTH_USER_MODEL,
    "on_delete": models.DO_NOTHING,
    "db_constraint": False,
    "related_name": "+",
}


class PreferencesField(ScopeField):
    """A field of a learner for all blocks of a type."""

    student = models.ForeignKey(**_STUDENT)
    module_type = models.CharField(max_length=64, db_index=True)

    class Meta:
        app_label = APP
        db_table = "bench_reference_preferences"
        unique_together: ClassVar = [("student", "module_type", "field_name")]


class UserInfoField(ScopeField):
    """A field of a learner for all blocks."""

    student = models.ForeignKey(**_STUDENT)

    class Meta:
        app_label = APP
        db_table = "bench_reference_user_info"
        unique_together: ClassVar = [("student", "field_name")]


class SummaryField(ScopeField):
    """A field of a block for all learners."""

    usage_id: Any = UsageKeyField(max_length=255, db_index=True)

    class Meta:
        app_label = APP
        db_table = "bench_reference_summary"
        unique_together: ClassVar = [("usage_id", "field_name")]

"""The tables of learner state, and the history that receivers of signals write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.db import models
from django.db.models.signals import post_save
from opaque_keys.edx.django.models import BlockTypeKeyField, LearningContextKeyField, UsageKeyField


class StudentModule(models.Model):
    objects: ClassVar[Any] = models.Manager()

    module_type = models.CharField(max_length=32)
    module_state_key = UsageKeyField(max_length=255, db_column="module_id")
    student = models.ForeignKey(User, db_constraint=False, on_delete=models.CASCADE)
    course_id = LearningContextKeyField(max_length=255)
    state = models.TextField(null=True, blank=True)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)
    done = models.CharField(max_length=8, default="na")
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        unique_together = (("student", "module_state_key", "course_id"),)

    def __str__(self) -> str:
        return str(self.module_state_key)


class BaseStudentModuleHistory(models.Model):
    created = models.DateTimeField()
    state = models.TextField(null=True)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.created)

    @staticmethod
    def get_history(student_modules: Iterable[StudentModule]) -> list[Any]:
        rows = StudentModuleHistory.objects.filter(student_module__in=[module.pk for module in student_modules])
        return list(rows.order_by("-id"))

    @staticmethod
    def save_history_entry(student_module: Any, history_model_cls: Any, request_cache_key: str) -> None:
        history_model_cls.objects.create(
            student_module=student_module,
            created=student_module.modified,
            state=student_module.state,
            grade=student_module.grade,
            max_grade=student_module.max_grade,
        )


class StudentModuleHistory(BaseStudentModuleHistory):
    objects: ClassVar[Any] = models.Manager()

    student_module = models.ForeignKey(StudentModule, db_constraint=False, on_delete=models.CASCADE)


def save_history(sender: Any, instance: StudentModule, **_: Any) -> None:
    BaseStudentModuleHistory.save_history_entry(instance, StudentModuleHistory, "map")


post_save.connect(save_history, sender=StudentModule)


class FieldRow(models.Model):
    objects: ClassVar[Any] = models.Manager()

    field_name = models.CharField(max_length=64)
    value = models.TextField(default="null")
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.field_name


class XModuleUserStateSummaryField(FieldRow):
    usage_id = UsageKeyField(max_length=255)

    class Meta:
        unique_together = (("usage_id", "field_name"),)


class XModuleStudentPrefsField(FieldRow):
    module_type = BlockTypeKeyField(max_length=64)
    student = models.ForeignKey(User, db_constraint=False, on_delete=models.CASCADE)

    class Meta:
        unique_together = (("student", "module_type", "field_name"),)


class XModuleStudentInfoField(FieldRow):
    student = models.ForeignKey(User, db_constraint=False, on_delete=models.CASCADE)

    class Meta:
        unique_together = (("student", "field_name"),)


class Override(models.Model):
    """A model of another package, which refers to the state by a foreign key."""

    objects: ClassVar[Any] = models.Manager()
    module = models.ForeignKey(StudentModule, db_constraint=False, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return str(self.module)


class StrictOverride(models.Model):
    """As `Override`, with a constraint in the database."""

    objects: ClassVar[Any] = models.Manager()
    module = models.ForeignKey(StudentModule, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return str(self.module)

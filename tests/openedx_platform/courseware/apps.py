from __future__ import annotations

from django.apps import AppConfig


class CoursewareConfig(AppConfig):
    name = "tests.openedx_platform.courseware"
    label = "courseware"
    default_auto_field = "django.db.models.BigAutoField"

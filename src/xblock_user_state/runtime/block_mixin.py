"""Fields and attributes that blocks from Open edX expect every block to have."""

from __future__ import annotations

from opaque_keys.edx.keys import CourseKey, UsageKey
from xblock.core import XBlockMixin
from xblock.fields import Boolean, DateTime, Scope, String, Timedelta


class OpenEdXBlockMixin(XBlockMixin):
    """Gives blocks what their code reads from Open edX's mixins: for ``mixins`` of the runtime."""

    display_name = String(default="", scope=Scope.settings)
    graded = Boolean(default=True, scope=Scope.settings)
    start = DateTime(default=None, scope=Scope.settings)
    due = DateTime(default=None, scope=Scope.settings)
    graceperiod = Timedelta(default=None, scope=Scope.settings)

    @property
    def location(self) -> UsageKey:
        return self.scope_ids.usage_id

    @property
    def course_id(self) -> CourseKey:
        return self.scope_ids.usage_id.course_key

    @property
    def category(self) -> str:
        return str(self.scope_ids.block_type)

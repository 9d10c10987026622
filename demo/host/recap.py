"""A block that shows its reader's attempts in other blocks, through the service ``user_state``."""

from __future__ import annotations

from typing import Any

from django.template.loader import render_to_string
from web_fragments.fragment import Fragment
from xblock.core import XBlock
from xblock.fields import Scope, String


@XBlock.needs("user", "user_state")
class RecapBlock(XBlock):
    """Lists problems with the reader's number of attempts. One statement for all of them."""

    problems = String(scope=Scope.content, default="", help="names of problems, separated by spaces")

    def student_view(self, context: dict[str, Any] | None = None) -> Fragment:
        course = self.scope_ids.usage_id.course_key
        keys = [course.make_usage_key("problem", name) for name in self.problems.split()]
        user = self.runtime.service(self, "user").get_current_user()
        learner = user.opt_attrs["edx-platform.username"]
        states = self.runtime.service(self, "user_state").get_states(learner, keys, fields=["attempts"])
        attempts = {self.runtime.get_block(key).display_name: states.get(key, {}).get("attempts", 0) for key in keys}
        return Fragment(render_to_string("host/recap.html", {"attempts": attempts}))

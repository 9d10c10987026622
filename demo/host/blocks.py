"""Block types: which class serves which name, and what this host adds to every block."""

from __future__ import annotations

from typing import Any

from django.template.loader import render_to_string
from opaque_keys.edx.keys import CourseKey, UsageKey
from web_fragments.fragment import Fragment
from xblock.core import XBlock, XBlockMixin
from xblock.fields import Boolean, DateTime, Scope, String

# xblocks-contrib registers its blocks under these names until Open edX has moved its own ones out of the way.
EXTRACTED = {
    "html": "_html_extracted",
    "poll_question": "_poll_question_extracted",
    "problem": "_problem_extracted",
    "word_cloud": "_word_cloud_extracted",
}

# Every installed aside decorates every block unless the host says otherwise. acid's is for acid's own blocks, which
# test a host (see tests/acceptance).
ASIDE_TYPES = ("acid_aside",)
DECORATED_TYPES = ("acid", "acid_parent")


# These do not show their name, so the page does.
UNTITLED_TYPES = ("done", "feedback", "poll_question", "recap")

# Learners do nothing in these.
SHOWN_TYPES = ("html", "recap")


class VerticalBlock(XBlock):
    """One page of the course: its children below one another."""

    has_children = True

    def student_view(self, context: dict[str, Any] | None = None) -> Fragment:
        page = Fragment()
        for child in self.get_children():
            key = child.scope_ids.usage_id
            fragment = self.runtime.render_child(child, "student_view", context)
            title = child.display_name if key.block_type in UNTITLED_TYPES else ""
            page.add_fragment_resources(fragment)
            page.add_content(
                render_to_string("host/child.html", {"key": key, "title": title, "content": fragment.content})
            )
        return page


class HostMixin(XBlockMixin):
    """What blocks that come from Open edX expect to find on themselves, whoever hosts them."""

    display_name = String(default="", scope=Scope.settings)
    graded = Boolean(default=True, scope=Scope.settings)
    start = DateTime(default=None, scope=Scope.settings)
    due = DateTime(default=None, scope=Scope.settings)

    @property
    def location(self) -> UsageKey:
        return self.scope_ids.usage_id

    @property
    def course_id(self) -> CourseKey:
        return self.scope_ids.usage_id.course_key

    @property
    def category(self) -> str:
        return str(self.scope_ids.block_type)

"""Block types of the course, and the attributes that this host adds to every block."""

from __future__ import annotations

from typing import Any

from django.template.loader import render_to_string
from opaque_keys.edx.keys import CourseKey, UsageKey
from web_fragments.fragment import Fragment
from xblock.core import XBlock, XBlockMixin
from xblock.fields import Boolean, DateTime, Scope, String

# Open edX still registers these types itself. Until it stops, xblocks-contrib registers its blocks under other names.
EXTRACTED = {
    "html": "_html_extracted",
    "poll_question": "_poll_question_extracted",
    "problem": "_problem_extracted",
    "word_cloud": "_word_cloud_extracted",
}

# By default XBlock adds every installed aside to every block. The aside of the acid blocks, which test a host (see
# tests/acceptance), belongs only to them.
ASIDE_TYPES = ("acid_aside",)
DECORATED_TYPES = ("acid", "acid_parent")

# These types do not render their title, so the page renders it.
UNTITLED_TYPES = ("done", "feedback", "poll_question", "recap")

# These types only show content. They do not count as activities.
SHOWN_TYPES = ("html", "recap")


class VerticalBlock(XBlock):
    """One page of the course. It renders its children one below the other."""

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
    """Fields and attributes that blocks from Open edX expect of every host."""

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

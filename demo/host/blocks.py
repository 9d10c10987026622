"""Block types of the course, and the container of a page."""

from __future__ import annotations

import logging
from typing import Any

from django.template.loader import render_to_string
from web_fragments.fragment import Fragment
from xblock.core import XBlock

from xblock_user_state.interface import DamagedState

log = logging.getLogger(__name__)

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
            fragment = self._render(child, context)
            title = child.display_name if key.block_type in UNTITLED_TYPES else ""
            page.add_fragment_resources(fragment)
            page.add_content(
                render_to_string("host/child.html", {"key": key, "title": title, "content": fragment.content})
            )
        return page

    def _render(self, child: XBlock, context: dict[str, Any] | None) -> Fragment:
        """Return the view of a child. A state that can't be read takes down its own block only."""
        try:
            # Problems turn the error into one of their own.
            self.runtime.check_state(child)
            return self.runtime.render_child(child, "student_view", context)
        except DamagedState:
            log.warning("%s is not shown", child.scope_ids.usage_id, exc_info=True)
            return Fragment(render_to_string("host/unreadable.html"))

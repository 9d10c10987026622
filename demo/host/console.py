"""The course's titles, order and words, for the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demo.host.content import get_course
from demo.host.learners import with_account
from demo.host.runtime import LearnerRuntime
from xblock_user_state.console.hosts import ConsoleHost
from xblock_user_state.hosting import store_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opaque_keys.edx.keys import LearningContextKey, UsageKey

    from xblock_user_state.console.hosts import Describe


class Console(ConsoleHost):
    """The night sky's answers."""

    def title(self, block_key: UsageKey) -> str:
        item = get_course().item(block_key)
        return item.title if item else super().title(block_key)

    def outline(self, course_key: LearningContextKey) -> Sequence[UsageKey]:
        return [item.key for item in get_course().items if item.key.course_key == course_key]

    def describe(self, user: Any, block_key: UsageKey) -> Describe | None:
        item = get_course().item(block_key)
        if item is None or not item.has_report:
            return None
        block = LearnerRuntime(get_course(), with_account(user), store_for(user)).get_block(block_key)
        return lambda state: [_shown(report) for _, report in block.generate_report_data(iter([state]))]


def _shown(report: Mapping[str, object]) -> dict[str, object]:
    """Leave out empty texts, and ids, which say nothing to staff."""
    return {name: text for name, text in report.items() if name != "Answer ID" and text not in (None, "")}

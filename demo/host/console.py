"""The course's titles, order and words, for the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demo.host.content import get_course
from demo.host.learners import Learner, with_account
from demo.host.runtime import LearnerRuntime
from xblock_user_state.console.hosts import ConsoleHost
from xblock_user_state.hosting import anonymous_id_for, store_for
from xblock_user_state.runtime import UserStateKeyValueStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opaque_keys.edx.keys import LearningContextKey, UsageKey

    from xblock_user_state.client import DjangoXBlockUserStateClient
    from xblock_user_state.console.hosts import Describe, Rescorer


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
        # A problem that is loaded saves its seed; to read a page must leave no state of the reader.
        block = LearnerRuntime(get_course(), with_account(user), store_for(user, read_only=True)).get_block(block_key)
        return lambda state: [_shown(report) for _, report in block.generate_report_data(iter([state]))]

    def rescorer(self, block_key: UsageKey | None) -> Rescorer | None:
        return score_anew if block_key is None or _is_problem(block_key) else None


def score_anew(client: DjangoXBlockUserStateClient, learner: Any, block_key: UsageKey) -> None:
    """Score a problem that the learner has answered. Other blocks stay as they are."""
    if not _is_problem(block_key):
        return
    store = UserStateKeyValueStore(client, learner)
    with store.unit_of_work(guarded=True):
        account = Learner(learner, client, anonymous_id_for(learner))
        block = LearnerRuntime(get_course(), account, store).get_block(block_key)
        if block.has_submitted_answer():
            block.rescore(only_if_higher=False)
            block.save()


def _is_problem(block_key: UsageKey) -> bool:
    return block_key.block_type == "problem"


def _shown(report: Mapping[str, object]) -> dict[str, object]:
    """Leave out empty texts, and ids, which say nothing to staff."""
    return {name: text for name, text in report.items() if name != "Answer ID" and text not in (None, "")}

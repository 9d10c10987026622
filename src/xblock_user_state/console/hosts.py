"""The host's answers to what the store does not know: titles, the order of a course, answers in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from django.utils.module_loading import import_string
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state import conf
from xblock_user_state.access import Policy
from xblock_user_state.actions.changes import Rescorer
from xblock_user_state.interface import State, XBlockUserState
from xblock_user_state.permissions import site_policy

__all__ = ["ConsoleHost", "Describe", "Rescorer"]

Describe = Callable[[XBlockUserState], Iterable[Mapping[str, object]]]
"""Returns the answers in a learner's state, in words: texts by name, such as ``{"Question": …, "Answer": …}``."""

# Of capa problems, free text responses, polls, surveys and others.
_ANSWERS = ("student_answers", "student_answer", "choice", "choices", "answer")


class ConsoleHost:
    """The answers of a host that says nothing. Subclass it, and name the class in the setting ``CONSOLE_HOST``."""

    @property
    def policy(self) -> Policy:
        """Decides who sees which pages, and who acts: the site's policy, unless the class names another."""
        return site_policy()

    def title(self, block_key: UsageKey) -> str:
        """Return the title of a block."""
        return str(block_key.block_id)

    def outline(self, course_key: LearningContextKey) -> Sequence[UsageKey]:
        """Return the blocks of a course in the order in which learners meet them; empty if it is not known."""
        return ()

    def answer(self, block_key: UsageKey, state: State) -> Any:
        """Return the answer in a state, a JSON value, to count equal ones; ``None`` if there is none."""
        return next((state[field] for field in _ANSWERS if state.get(field)), None)

    def describe(self, user: Any, block_key: UsageKey) -> Describe | None:
        """Return the function that puts states of a block into words; ``None`` if the block offers none.

        `user` is the reader of the page. An exception of the function is shown in the place of the words.
        """
        return None

    def rescorer(self, block_key: UsageKey | None) -> Rescorer | None:
        """Return the function that scores a block anew, as `actions.rescore` takes it; ``None`` offers no rescoring.

        `block_key` is ``None`` for all blocks of a course. An exception of the function is the reason why the block of
        a learner is skipped.
        """
        return None


def console_host() -> ConsoleHost:
    """Return the host of the settings."""
    path = conf.value("CONSOLE_HOST")
    return cast("ConsoleHost", import_string(path)()) if path else ConsoleHost()

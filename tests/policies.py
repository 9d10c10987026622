"""Policies for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xblock_user_state.access import Question


class Asked:
    """Answers by a function of the question, and keeps the questions."""

    def __init__(self, answer: Callable[[Question], bool] = lambda question: True) -> None:
        self._answer = answer
        self.questions: list[Question] = []

    def may(self, *question: Any) -> bool:
        self.questions.append(Question(*question))
        return self._answer(self.questions[-1])


def refuse(question: Question) -> bool:
    return False

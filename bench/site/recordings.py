"""Histories of real problems, recorded by running the `problem` XBlock in the demo's host.

Needs the demo's settings, or settings with the same apps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from webob import Request

from demo.host.content import load_course
from demo.host.learners import with_account
from demo.host.outline import Course
from demo.host.runtime import LearnerRuntime
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.hosting import store_for
from xblock_user_state.interface import State

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from opaque_keys.edx.locator import BlockUsageLocator

COURSE = Path(__file__).parent / "course.xml"
SEASONS = ("spring", "summer", "autumn", "winter")
WORDS = ("the", "a", "red", "bright", "northern", "star", "planet", "cluster", "Sirius", "Pleiades", "ecliptic", "Moon")


@dataclass(frozen=True)
class Problem:
    """A problem of the course, the kinds of its inputs in order, and the number of submissions per learner."""

    name: str
    url_name: str
    inputs: tuple[str, ...]
    attempts: int


TEN_INPUTS = Problem(
    "10 inputs, 10 attempts",
    "6b1f0c1c7d9e4f1f8a52c6b1a0d3e4f7",
    (*["number"] * 4, *["words"] * 2, *["choice"] * 2, "choices", "season"),
    attempts=10,
)
FIVE_INPUTS = Problem(
    "5 inputs, 50 attempts",
    "0d4a7be2f35c49d7b1c80e9f6a2d5c13",
    ("number", "number", "words", "choice", "season"),
    attempts=50,
)
PROBLEMS = (TEN_INPUTS, FIVE_INPUTS)


class Revision(NamedTuple):
    """State and score after one change."""

    state: State
    grade: float | None
    max_grade: float | None


def record(problem: Problem, user: User, random: Random) -> list[Revision]:
    """Open the problem, submit it with new answers `problem.attempts` times, and return its history, oldest first.

    The learner must not have opened the problem before. Takes seconds: capa renders the problem each time.
    """
    course = load_course(COURSE)
    key = course.ids.course_key.make_usage_key("problem", problem.url_name)
    _handle(course, user, key, "problem_get", {})
    for _ in range(problem.attempts):
        _handle(course, user, key, "problem_check", dict(_answers(problem, key, random)))
    entries = DjangoXBlockUserStateClient(user).get_history(user.get_username(), key)
    revisions = [Revision(entry.state or {}, *(entry.score or (None, None))[:2]) for entry in entries]
    return revisions[::-1]


def _handle(course: Course, user: User, key: BlockUsageLocator, action: str, form: dict[str, str]) -> None:
    # Like a web request: a new runtime and a new block, without anything cached from the previous one.
    runtime = LearnerRuntime(course, with_account(user), store_for(user))
    with runtime.learner_state.unit_of_work():
        runtime.handle(runtime.get_block(key), "xmodule_handler", Request.blank("/", POST=form), action)


def _answers(problem: Problem, key: BlockUsageLocator, random: Random) -> Iterator[tuple[str, str]]:
    """Yield names and values of the problem's form fields, named as the block names them."""
    for number, kind in enumerate(problem.inputs, start=2):
        name = f"input_{key.html_id()}_{number}_1"
        yield (f"{name}[]" if kind == "choices" else name), _answer(kind, random)


def _answer(kind: str, random: Random) -> str:
    if kind == "number":
        return f"{random.uniform(0, 500):.2f}"
    if kind == "words":
        return " ".join(random.choices(WORDS, k=random.randint(1, 4)))
    return random.choice(SEASONS) if kind == "season" else f"choice_{random.randrange(4)}"

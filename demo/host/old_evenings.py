"""The work of the demo's accounts in the course, as an old Open edX site would have stored it in 2021.

The course's real blocks do it, in memory; the times are made up. See the command ``make_old_site``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.auth import get_user_model
from webob import Request
from xblock.fields import Scope

from demo.host.content import get_course
from demo.host.learners import Learner
from demo.host.runtime import LearnerRuntime
from xblock_user_state.hosting import anonymous_id_for
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from opaque_keys.edx.keys import UsageKey
    from opaque_keys.edx.locator import BlockUsageLocator

FIRST_EVENING = datetime(2021, 11, 5, 19, 30, tzinfo=UTC)
# From this day on, history went to the extended table.
EXTENDED_SINCE = datetime(2021, 11, 12, tzinfo=UTC)


class Answers(NamedTuple):
    """The submissions to one problem with one input."""

    problem: str
    given: Sequence[str | Sequence[str]]


EVENINGS: Mapping[str, Sequence[Answers]] = {
    "ada": (
        Answers("torch", ["choice_0", "choice_2"]),
        Answers("habits", [["choice_0", "choice_1"], ["choice_0", "choice_1", "choice_3"]]),
        Answers("hundredfold", ["50", "2.5", "100"]),
        Answers("moonrise", ["sunset"]),
        Answers("month", ["27.3", "29.5"]),
        Answers("polaris", ["Sirius", "Polaris"]),
        Answers("latitude", ["38", "52"]),
        Answers("andromeda", ["M31"]),
    ),
    "ben": (
        Answers("torch", ["choice_3", "choice_1", "choice_2"]),
        Answers("hundredfold", ["100"]),
        Answers("moonrise", ["midnight", "noon", "sunset"]),
        Answers("terminator", ["choice_0", "choice_1"]),
    ),
    "chen": (
        Answers("torch", ["choice_2"]),
        Answers("polaris", ["Vega", "Sirius", "North Star"]),
    ),
}
VOTES = {"ada": "hundreds", "ben": "milky-way", "chen": "dozens"}


@dataclass(frozen=True)
class OldRow:
    """A row of the old table of states, as its history, oldest first: state, grade, max_grade and created."""

    learner: int
    key: UsageKey
    entries: list[dict[str, Any]] = field(default_factory=list)


class Evenings:
    """Learners at work, one a week; their state is in memory."""

    def __init__(self) -> None:
        self._client = InMemoryXBlockUserStateClient()
        self._now = FIRST_EVENING

    def spend(self) -> list[OldRow]:
        """Let each account take its part of the course."""
        rows = []
        for number, (name, evening) in enumerate(EVENINGS.items()):
            self._now = FIRST_EVENING + timedelta(weeks=number)
            user = get_user_model().objects.get(username=name)
            rows += [self._submit(user, answers) for answers in evening]
            rows.append(self._vote(user))
        return rows

    def shared(self, rows: Sequence[OldRow]) -> Iterator[tuple[UsageKey, Mapping[str, Any]]]:
        """Yield the values that all learners share, of all blocks of these rows."""
        for found in self._client.get_many("ada", {row.key for row in rows}, Scope.user_state_summary):
            yield found.block_key, found.state or {}

    def _submit(self, user: User, answers: Answers) -> OldRow:
        """Open a problem and submit all answers. A submission of that time made two rows of history."""
        key = _key("problem", answers.problem)
        row = OldRow(user.pk, key)
        self._handle(user, key, "xmodule_handler/problem_get", {})
        row.entries.append(self._entry(user, key))
        for given in answers.given:
            name = f"input_{key.html_id()}_2_1"
            form = [(name, given)] if isinstance(given, str) else [(f"{name}[]", one) for one in given]
            self._handle(user, key, "xmodule_handler/problem_check", form)
            after = self._entry(user, key)
            if after["created"] < EXTENDED_SINCE:
                # First the score was saved, then the state.
                row.entries.append({**after, "state": row.entries[-1]["state"]})
            row.entries.append(after)
        return row

    def _vote(self, user: User) -> OldRow:
        key = _key("poll", "home-sky")
        self._handle(user, key, "vote", json.dumps({"choice": VOTES[user.username]}).encode())
        return OldRow(user.pk, key, [self._entry(user, key)])

    def _handle(self, user: User, key: UsageKey, handler: str, form: Any) -> None:
        learner = Learner(user, self._client, anonymous_id_for(user))
        runtime = LearnerRuntime(get_course(), learner, UserStateKeyValueStore(self._client, user))
        name, _, suffix = handler.partition("/")
        with runtime.learner_state.unit_of_work():
            runtime.handle(runtime.get_block(key), name, Request.blank("/", method="POST", POST=form), suffix)

    def _entry(self, user: User, key: UsageKey) -> dict[str, Any]:
        """Return the row as it is now, some minutes after the click before, in whole seconds."""
        self._now += timedelta(minutes=4, seconds=37)
        state = {**(self._client.get(user.username, key).state or {})}
        if "last_submission_time" in state:
            state["last_submission_time"] = f"{self._now:%Y-%m-%dT%H:%M:%SZ}"
        score = self._client.get_scores(user.username, [key]).get(key)
        grade, max_grade = (score.grade, score.max_grade) if score else (None, None)
        return {"state": json.dumps(state), "grade": grade, "max_grade": max_grade, "created": self._now}


def _key(block_type: str, name: str) -> BlockUsageLocator:
    return get_course().ids.course_key.make_usage_key(block_type, name)

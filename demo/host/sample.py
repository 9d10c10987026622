"""Fifty invented learners take the course, in the spring of 2026. See the command ``make_sample``.

They do it as a browser would: each click calls a handler of a real block, in its own unit of work. The same seed makes
the same clicks. They are planned first and then made in the order of their times, because learners share polls.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import connections, router, transaction
from webob import Request
from xblocks_contrib.problem import capa_block

from demo.host.accounts import PASSWORD
from demo.host.content import get_course
from demo.host.learners import with_account
from demo.host.runtime import LearnerRuntime
from demo.host.sample_words import (
    AGREED,
    NAMES,
    OLD_DRAFT,
    PROBLEMS,
    SENTENCES,
    SKY,
    TELESCOPE,
    TUESDAYS_ANSWER,
    WORDS,
    Given,
    Problem,
)
from xblock_user_state.actions import override_score, reset_attempts
from xblock_user_state.hosting import store_for
from xblock_user_state.models import StudentModule
from xblock_user_state.runtime import run_guarded

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from opaque_keys.edx.locator import BlockUsageLocator

SEED = 2026
FIRST_DAY = datetime(2026, 3, 2, tzinfo=UTC)
STARTS = 45
"""Days in which the learners begin."""
LAST_DAY = datetime(2026, 6, 28, tzinfo=UTC)

WITHOUT_STATE = "olga"
OVERWRITTEN = "ines"
TUESDAY = datetime(2026, 4, 14, 19, 42, tzinfo=UTC)
DAMAGED = "tom"
STUCK = {"jamal": "hundredfold", "rosa": "hundredfold", "viktor": "parallax", "maren": "latitude"}
FORGIVEN, GRADED_BY_HAND = "hana", "nils"
KEPT_FOR_STAFF = {FORGIVEN: "terminator", GRADED_BY_HAND: "latitude"}
"""Learners and the problem in which staff help them, at the end."""

ROUTE = (
    "torch",
    "habits",
    "half-hour",
    "hundredfold",
    "home-sky",
    "moonrise",
    "month",
    "terminator",
    "telescope",
    "polaris",
    "latitude",
    "parallax",
    "andromeda",
    "cloud",
    "first-night",
    "tour",
    "rating",
)


class Click(NamedTuple):
    """A call at a moment, by a learner or by staff for a learner."""

    at: datetime
    number: int
    """Keeps the order of clicks at the same moment."""
    username: str
    make: Callable[[], object]


ALL = [first.lower() for first, _ in NAMES]
"""The usernames."""


def is_made() -> bool:
    """Tell whether any of the sample's learners is there."""
    return bool(get_user_model().objects.filter(username__in=ALL).exists())


def make(usernames: Collection[str] = ALL) -> int:
    """Make the learners and their work in one transaction, so that an interrupted call leaves nothing; count clicks."""
    with transaction.atomic(router.db_for_write(StudentModule)):
        sample = Sample()
        clicks = sorted(click for click in sample.clicks() if click.username in usernames)
        with a_clock() as set_to:
            for click in clicks:
                set_to(click.at)
                click.make()
        _damage(sample.users[DAMAGED])
    return len(clicks)


@contextmanager
def a_clock() -> Iterator[Callable[[datetime], None]]:
    """Let the store and problems take their times from a clock that the caller sets."""

    class Moment(datetime):
        moment = FIRST_DAY

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return cls.moment.astimezone(tz)

    of_problems = SimpleNamespace(**{**vars(dt), "datetime": Moment})
    with patch("xblock_user_state.state.change.datetime", Moment), patch.object(capa_block, "datetime", of_problems):
        yield lambda moment: setattr(Moment, "moment", moment)


class Sample:
    """The accounts, and the plan of their clicks."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self._number = 0
        # One hash for all: fifty take half a minute.
        password = make_password(PASSWORD)
        users = get_user_model().objects
        users.bulk_create(
            get_user_model()(
                username=first.lower(),
                first_name=first,
                last_name=last,
                email=f"{first.lower()}@example.com",
                password=password,
                date_joined=FIRST_DAY,
            )
            for first, last in NAMES
        )
        self.users: Mapping[str, User] = {user.username: user for user in users.filter(username__in=ALL)}
        self._staff = users.get(username="staff")

    def clicks(self) -> Iterator[Click]:
        """Yield the clicks of each learner, and of staff."""
        for name in ALL:
            if name != WITHOUT_STATE:
                yield from self._of_learner(name)
        yield from self._of_staff()

    def _of_learner(self, name: str) -> Iterator[Click]:
        rng, user = self._random, self.users[name]
        skill = rng.uniform(0.35, 0.9)
        # Many leave early, some reach the end.
        far = len(ROUTE) if name == OVERWRITTEN else min(len(ROUTE), max(3, round(rng.triangular(1, 21, 9))))
        now = FIRST_DAY + timedelta(days=rng.uniform(0, STARTS / 3 if name == OVERWRITTEN else STARTS))
        for place, block in enumerate(ROUTE[:far]):
            if place == 0 or rng.random() < 0.3:
                # Another evening.
                now = (now + timedelta(days=rng.randint(1, 8))).replace(hour=rng.choice((17, 18, 19, 20, 21)))
            now += timedelta(minutes=rng.uniform(2, 11))
            if now >= LAST_DAY:
                return
            if STUCK.get(name) == block:
                yield from self._stuck(user, PROBLEMS[block], now)
                return
            if name == OVERWRITTEN and block == "first-night":
                yield from self._overwritten(user)
                now = max(now, TUESDAY + timedelta(days=2))
            elif KEPT_FOR_STAFF.get(name) != block:
                yield from self._in_block(user, block, now, skill)

    def _in_block(self, user: User, block: str, now: datetime, skill: float) -> Iterator[Click]:
        rng = self._random
        if block in PROBLEMS:
            yield from self._tries(user, PROBLEMS[block], now, skill)
        elif block == "half-hour":
            yield self._posted(user, now, "done", block, "toggle_button", {"done": True})
        elif block == "home-sky":
            yield self._posted(user, now, "poll", block, "vote", {"choice": rng.choice(SKY)})
        elif block == "telescope":
            answer = {"answer": rng.choice(TELESCOPE)}
            # The block counts no vote before its first view.
            yield self._click(now, user, lambda: _view(user, _key("poll_question", block)))
            yield self._posted(user, now, "poll_question", block, "handle_submit_state", answer)
        elif block == "cloud":
            words = {"student_words": rng.sample(WORDS, 3)}
            yield self._posted(user, now, "word_cloud", block, "handle_submit_state", words)
        elif block == "first-night":
            yield from self._written(user, now)
        elif block == "tour":
            agreed = {question: rng.choice(AGREED) for question in ("pace", "outside", "again")}
            yield self._posted(user, now, "survey", block, "vote", agreed)
        else:
            yield self._posted(user, now, "feedback", block, "feedback", {"vote": rng.choice((0, 0, 1, 1, 2, 3))})

    def _tries(self, user: User, problem: Problem, now: datetime, skill: float) -> Iterator[Click]:
        """Try until it is right, or until patience or the attempts are used up."""
        rng = self._random
        wrong = rng.sample(problem.wrong, len(problem.wrong))
        for given in wrong[: min(problem.attempts, rng.choice((2, 3, 4)))]:
            if rng.random() < skill:
                yield self._submitted(user, now, problem, rng.choice(problem.right) if problem.right else None)
                return
            yield self._submitted(user, now, problem, given)
            now += timedelta(minutes=rng.uniform(0.5, 6))

    def _stuck(self, user: User, problem: Problem, now: datetime) -> Iterator[Click]:
        """Try for weeks, and never get it right."""
        for number in range(self._random.randint(7, 11)):
            yield self._submitted(user, now, problem, problem.wrong[number % len(problem.wrong)])
            now += timedelta(minutes=self._random.choice((1, 2, 3, 60 * 24 * 2)))

    def _written(self, user: User, now: datetime) -> Iterator[Click]:
        """Save an entry of the log as it grows, and submit it."""
        text = self._random.sample(SENTENCES, self._random.randint(2, 10))
        for length in range(2, len(text), 3):
            yield self._posted(user, now, *_LOG, "save_reponse", {"student_answer": " ".join(text[:length])})
            now += timedelta(minutes=self._random.uniform(1, 4))
        yield self._posted(user, now, *_LOG, "submit", {"student_answer": " ".join(text)})

    def _overwritten(self, user: User) -> Iterator[Click]:
        """Write a long answer on a Tuesday, and an hour later save an old draft over it, from a tab left open."""
        yield self._posted(user, TUESDAY - timedelta(days=5), *_LOG, "save_reponse", {"student_answer": OLD_DRAFT})
        yield self._posted(user, TUESDAY, *_LOG, "submit", {"student_answer": TUESDAYS_ANSWER})
        later = TUESDAY + timedelta(minutes=71)
        yield self._posted(user, later, *_LOG, "save_reponse", {"student_answer": OLD_DRAFT})

    def _of_staff(self) -> Iterator[Click]:
        """Give attempts back, and set a score."""
        terminator, latitude = _key("problem", "terminator"), _key("problem", "latitude")
        forgiven, graded = self.users[FORGIVEN], self.users[GRADED_BY_HAND]
        start = LAST_DAY - timedelta(days=9)
        for number, wrong in enumerate(PROBLEMS["terminator"].wrong):
            yield self._submitted(forgiven, start + timedelta(minutes=number), PROBLEMS["terminator"], wrong)
        yield self._click(
            start + timedelta(hours=14),
            forgiven,
            lambda: reset_attempts(terminator, forgiven, actor=self._staff, reason="Clicked by mistake, by e-mail"),
        )
        right = PROBLEMS["terminator"].right[0]
        yield self._submitted(forgiven, start + timedelta(hours=20), PROBLEMS["terminator"], right)
        yield self._submitted(graded, start, PROBLEMS["latitude"], "25")
        yield self._click(
            start + timedelta(hours=15),
            graded,
            lambda: override_score(
                latitude, graded, grade=1, max_grade=1, actor=self._staff, reason="25 is a slip for 52, see the log"
            ),
        )

    def _submitted(self, user: User, at: datetime, problem: Problem, given: Given | None) -> Click:
        """Submit an answer to a problem. Without one, compute it from the problem's text."""
        key = _key("problem", problem.name)

        def submit() -> None:
            answer = given if given is not None else _computed(_handle(user, key, "xmodule_handler", {}, "problem_get"))
            name = f"input_{key.html_id()}_2_1"
            form = [(name, answer)] if isinstance(answer, str) else [(f"{name}[]", one) for one in answer]
            _handle(user, key, "xmodule_handler", form, "problem_check")

        return self._click(at, user, submit)

    def _posted(self, user: User, at: datetime, block_type: str, name: str, handler: str, data: Any) -> Click:
        key, body = _key(block_type, name), json.dumps(data).encode()
        return self._click(at, user, lambda: _handle(user, key, handler, body))

    def _click(self, at: datetime, user: User, make: Callable[[], object]) -> Click:
        self._number += 1
        return Click(at, self._number, user.username, make)


_LOG = ("freetextresponse", "first-night")


def _handle(user: User, key: BlockUsageLocator, handler: str, form: Any, suffix: str = "") -> str:
    """Call a handler as the demo does for a request."""

    def work() -> str:
        response = _runtime(user).run_handler(key, handler, Request.blank("/", method="POST", POST=form), suffix)
        return str(response.text)

    return run_guarded(work)


def _view(user: User, key: BlockUsageLocator) -> None:
    run_guarded(lambda: _runtime(user).render_page([key], context={}))


def _runtime(user: User) -> LearnerRuntime:
    return LearnerRuntime(get_course(), with_account(user), store_for(user))


def _computed(shown: str) -> str:
    """Return the distance of the star whose parallax the problem shows."""
    [parallax] = re.findall(r"parallax of <strong>([\d.]+)", shown)
    return f"{1 / float(parallax):g}"


def _damage(user: User) -> None:
    """Cut the state that the learner changed last off in the middle, as a disk or a hand in SQL does."""
    row = StudentModule.objects.filter(student_id=user.pk).latest("modified")
    with connections[router.db_for_write(StudentModule)].cursor() as cursor:
        cursor.execute(
            f"UPDATE {StudentModule._meta.db_table} SET state = %s WHERE student_id = %s AND block_id = %s",  # noqa: S608
            [(row.state or "")[:-20], user.pk, row.block_id],
        )


def _key(block_type: str, name: str) -> BlockUsageLocator:
    return get_course().ids.course_key.make_usage_key(block_type, name)

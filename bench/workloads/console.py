"""The pages of the console, over a course whose blocks all learners have seen.

One learner has changed one block many times. A superuser who has logged in asks for each page, as a browser does. The
statements for the session and the user count too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path, reverse

from bench.contenders import OURS
from bench.page.figures import summary
from bench.page.report import Results
from bench.site import machine, scale
from bench.site.data import BLOCKS_OF_COURSE, attempt, blocks_of, course_key, learner
from bench.site.filling import of_course
from bench.workloads.stage import rotated, set_stage, timed
from xblock_user_state.client import DjangoXBlockUserStateClient

urlpatterns = [path("", include("xblock_user_state.console.urls"))]

REVISIONS = 200
"""Revisions of the long history."""


def measure(_folder: Path) -> Results:
    """Open each page as often as the scale says."""
    states = scale.chosen().course_of_console
    learners = states // BLOCKS_OF_COURSE
    set_stage([OURS], of_course(states, learners), learners)
    _work_on_one_block(learners // 2)
    reader = Client()
    reader.force_login(get_user_model().objects.create_superuser("reader", id=learners + 1))
    return {"machine": machine.line(), "states": states, "pages": _measure(reader, _pages(learners // 2))}


def _work_on_one_block(number: int) -> None:
    owner, block, random = learner(number), blocks_of(0)[0], Random(1)
    client = DjangoXBlockUserStateClient(get_user_model()(pk=owner.id, username=owner.username))
    for turn in range(REVISIONS):
        client.set(owner.username, block.key, attempt(random, turn + 2))


def _pages(number: int) -> Mapping[str, str]:
    """Return the addresses of the pages by their names."""
    course, block, owner = course_key(0), blocks_of(0)[0].key, learner(number).username
    history = _address("history", owner, course, block)
    return {
        "learners": _address("learners"),
        "learners, searched": _address("learners") + f"?q={owner[:-1]}",
        "learners of the course": _address("learners") + f"?course={course}".replace("+", "%2B"),
        "a learner": _address("learner", owner),
        "a learner in the course": _address("in_course", owner, course),
        f"a history of {REVISIONS} revisions": history,
        "the same, one field": f"{history}?field=attempts",
        "two revisions compared": _address("compare", owner, course, block) + f"?old=2&new={REVISIONS}",
        "a block over all learners": _address("block", course, block),
        "the course": _address("course", course),
        "health": _address("health"),
    }


def _address(name: str, *arguments: Any) -> str:
    return reverse(f"xblock_user_state_console:{name}", args=arguments)


def _measure(reader: Client, pages: Mapping[str, str]) -> dict[str, Any]:
    samples: dict[str, list[float]] = {name: [] for name in pages}
    statements = {}
    for name, address in pages.items():
        # Not timed: this call loads code and templates.
        with CaptureQueriesContext(connection) as captured:
            answer = reader.get(address)
        if answer.status_code != 200:
            raise RuntimeError(f"the page {address} answered {answer.status_code}")
        statements[name] = len(captured)
    for turn in range(scale.chosen().openings):
        for name, address in rotated(pages, turn):
            samples[name].append(timed(partial(reader.get, address)))
    return {name: {"times": summary(times), "statements": statements[name]} for name, times in samples.items()}

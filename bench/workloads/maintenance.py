"""The commands that read the whole history: export and check, beside a loop that only reads and decodes.

Each contender runs in a new process, so that its peak of memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from django.contrib.auth import get_user_model

from bench.page.report import Results
from bench.site import data, filling, machine, scale
from bench.site.data import Block, State
from bench.workloads.stage import set_stage
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule, StudentModuleHistory

JOBS = ("export", "check", "raw")
TURNS = 3


def measure(_folder: Path) -> Results:
    """Fill a site, and run each job some times, in turn."""
    set_stage((), None, scale.chosen().maintained)
    fill(scale.chosen().maintained)
    if filling.is_server():
        filling.analyze([StudentModule._meta.db_table, StudentModuleHistory._meta.db_table])
        filling.settle()
    runs: dict[str, list[dict[str, float]]] = {job: [] for job in JOBS}
    for _ in range(TURNS):
        for job, found in runs.items():
            found.append(_run(job))
    return {
        "machine": machine.line(),
        "jobs": {job: min(of, key=lambda one: one["seconds"]) for job, of in runs.items()},
    }


def fill(learners: int) -> None:
    """Let learners work on 100 problems each: most have one entry, some have 10, a few have 50."""
    random = Random(1)
    blocks = data.blocks_of(0)
    for user in get_user_model().objects.order_by("pk")[:learners]:
        client = DjangoXBlockUserStateClient(user)
        for number in range(50):
            states = dict(_changes(random, blocks, number))
            client.set_many(user.get_username(), {block.key: state for block, state in states.items()})


def _changes(random: Random, blocks: tuple[Block, ...], number: int) -> Iterator[tuple[Block, State]]:
    for place, block in enumerate(blocks):
        entries = 50 if place % 25 == 0 else 10 if place % 3 == 0 else 1
        if number < entries:
            yield block, data.attempt(random, number) if number else data.state(random)


def _run(job: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.workloads.maintain", job]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - runs our own module
    found: dict[str, Any] = json.loads(ended.stdout)
    return found

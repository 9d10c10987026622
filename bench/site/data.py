"""Courses, blocks, learners and states of a plausible site. Every contender gets the same data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any, NamedTuple

from opaque_keys.edx.keys import UsageKey
from opaque_keys.edx.locator import CourseLocator

from xblock_user_state.state.keys import identify_block

COURSES = 200
BLOCKS_OF_COURSE = 100
STATES = 500
"""Number of different states among the rows that fill a table."""

State = dict[str, Any]


class Block(NamedTuple):
    """A problem of a course, with the ids that the package gives to the block and its course."""

    key: UsageKey
    usage_key: str
    id: int
    course_key: str
    course_id: int


class Learner(NamedTuple):
    """A user of the site."""

    id: int
    username: str


def course_key(course: int) -> CourseLocator:
    """Return the key of a course by its number, from 0."""
    return CourseLocator("StarfieldX", f"AST{course:03}", "2026")


@cache
def blocks_of(course: int, count: int = BLOCKS_OF_COURSE) -> tuple[Block, ...]:
    """Return `count` blocks of a course, whose keys have 83 characters.

    A smaller `count` gives the first blocks of a larger one.
    """
    return tuple(_block(course_key(course), f"{course}/{number}") for number in range(count))


def _block(course: CourseLocator, name: str) -> Block:
    key = course.make_usage_key("problem", hashlib.blake2b(name.encode(), digest_size=16).hexdigest())
    identified = identify_block(key)
    return Block(key, identified.usage_key, identified.id, identified.context_key, identified.context_id)


def learner(number: int) -> Learner:
    """Return a learner by number, from 0. Database ids start at 1."""
    return Learner(number + 1, f"learner{number + 1}")


def state(random: Random) -> State:
    """Return the state that capa stores after one attempt at a problem with two inputs: about 700 bytes of JSON."""
    inputs = [f"{random.getrandbits(128):032x}_{number}_1" for number in (2, 3)]
    return {
        "seed": 1,
        "attempts": 1,
        "done": True,
        "has_saved_answers": False,
        "score": {"raw_earned": 1, "raw_possible": 2},
        "last_submission_time": _time(random),
        "input_state": {name: {} for name in inputs},
        "student_answers": {name: _answer(random) for name in inputs},
        "correct_map": {name: _correctness(random) for name in inputs},
    }


def attempt(random: Random, number: int) -> State:
    """Return the fields that another attempt at the problem sets."""
    return {
        "attempts": number,
        "score": {"raw_earned": random.randrange(3), "raw_possible": 2},
        "last_submission_time": _time(random),
    }


def states(seed: int, count: int) -> Iterator[State]:
    """Yield `count` states, the same ones for the same seed."""
    random = Random(seed)
    return (state(random) for _ in range(count))


def _time(random: Random) -> str:
    return f"2026-{random.randrange(1, 13):02}-{random.randrange(1, 29):02}T{random.randrange(24):02}:00:00Z"


def _answer(random: Random) -> str:
    return f"{random.uniform(0, 500):.4f}"


def _correctness(random: Random) -> State:
    return {
        "correctness": random.choice(("correct", "incorrect")),
        "npoints": None,
        "msg": "",
        "hint": "",
        "hintmode": None,
        "queuestate": None,
        "answervariable": None,
    }

"""Learners and keys for tests."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from opaque_keys.edx.keys import CourseKey, UsageKey
from opaque_keys.edx.locator import CourseLocator

COURSE = CourseLocator("Astro", "A101", "2026")
# A course that is made from it; its kind of key comes from the package edx-ccx-keys.
CCX = CourseKey.from_string("ccx-v1:Astro+A101+2026+ccx@7")
# Without rows in a database.
ADA = User(id=7, username="ada")
BEN = User(id=8, username="ben")
# Actor and reason of actions. No learner of a test gets the actor's id, though SQLite counts on from test to test.
BY: dict[str, Any] = {"actor": User(id=2_000_000_000, username="ada"), "reason": "a test"}


def make_learners(*names: str) -> list[User]:
    """Create users with these names, without passwords."""
    return get_user_model().objects.bulk_create([User(username=name) for name in names])


def make_block(name: str = "stars", block_type: str = "problem", course: CourseKey = COURSE) -> UsageKey:
    """Return a block's key; the history of the default type is recorded."""
    return course.make_usage_key(block_type, name)


def make_blocks(count: int, block_type: str = "problem", course: CourseKey = COURSE) -> list[UsageKey]:
    """Return the keys of `count` blocks."""
    return [make_block(f"block{number}", block_type, course) for number in range(count)]

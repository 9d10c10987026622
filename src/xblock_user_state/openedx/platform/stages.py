"""The stage of a site's move: which store serves, and which store gets a copy of every write.

=========  ======================  =====================
stage      serves                  gets a copy
=========  ======================  =====================
`off`      the platform's tables   none
`shadow`   the platform's tables   this store
`lead`     this store              the platform's tables
`alone`    this store              none
=========  ======================  =====================

The settings are read at each call, so processes with different settings may run side by side. A request keeps those
that it began with (`held`): one half of a statement must not be for the tables of another store than the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from django.utils.module_loading import import_string
from opaque_keys.edx.keys import LearningContextKey

from xblock_user_state import conf


class Stage(StrEnum):
    """The values of the setting ``OPENEDX_STAGE``."""

    OFF = "off"
    SHADOW = "shadow"
    LEAD = "lead"
    ALONE = "alone"

    @property
    def is_served_here(self) -> bool:
        """Tell whether this store serves."""
        return self in (Stage.LEAD, Stage.ALONE)

    @property
    def has_copies(self) -> bool:
        """Tell whether the store that does not serve gets a copy of every write."""
        return self in (Stage.SHADOW, Stage.LEAD)


class _Settings(NamedTuple):
    stage: Stage
    switch: str | None


_HELD: ContextVar[_Settings | None] = ContextVar("xblock_user_state_openedx_held", default=None)


@contextmanager
def held() -> Iterator[None]:
    """Keep the settings of this moment until the ``with`` block ends."""
    token = _HELD.set(_settings())
    try:
        yield
    finally:
        _HELD.reset(token)


def _settings() -> _Settings:
    return _HELD.get() or _Settings(Stage(conf.value("OPENEDX_STAGE")), conf.value("OPENEDX_COURSES"))


def site_stage() -> Stage:
    """Return the stage of the site, which holds for state that belongs to no course."""
    return _settings().stage


def stage_of(course_key: LearningContextKey) -> Stage:
    """Return the stage of a course: `off` where the host's switch leaves the course out.

    At the stage `alone` the switch is not asked: the platform's tables have no copies to serve from.
    """
    stage = site_stage()
    if stage in (Stage.OFF, Stage.ALONE) or _is_switched_on(course_key):
        return stage
    return Stage.OFF


def models_are_served_here() -> bool:
    """Tell whether the platform's models read this store.

    A query may span courses. While a switch leaves courses out, the platform's tables, which have all of them, answer.
    """
    stage, switch = _settings()
    return stage is Stage.ALONE or (stage is Stage.LEAD and not switch)


def _is_switched_on(course_key: LearningContextKey) -> bool:
    path = _settings().switch
    return not path or bool(_switch(path)(course_key))


@lru_cache(8)
def _switch(path: str) -> Callable[[Any], bool]:
    found: Callable[[Any], bool] = import_string(path)
    return found

"""The mark that a piece of code works on the platform's tables, whatever the stage says of the models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from xblock_user_state.openedx.platform.stages import models_are_served_here

_ON_THE_PLATFORMS: ContextVar[bool] = ContextVar("xblock_user_state_openedx_on_the_platforms", default=False)


@contextmanager
def on_the_platforms_tables() -> Iterator[None]:
    """Let the platform's models read and write the platform's tables, and mirror none of these writes."""
    token = _ON_THE_PLATFORMS.set(True)
    try:
        yield
    finally:
        _ON_THE_PLATFORMS.reset(token)


def is_on_the_platforms_tables() -> bool:
    """Tell whether `on_the_platforms_tables` is open."""
    return _ON_THE_PLATFORMS.get()


def models_read_this_store() -> bool:
    """Tell whether the platform's models read and write this store now."""
    return not _ON_THE_PLATFORMS.get() and models_are_served_here()

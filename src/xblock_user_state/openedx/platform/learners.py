"""The key-value stores of learners, and the unit of work of a request's handler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from xblock_user_state.interface import UserId
from xblock_user_state.openedx.platform.mirror import MirroringClient, flushed_at_the_end
from xblock_user_state.runtime import UserStateKeyValueStore


@dataclass(frozen=True)
class Learner:
    """A learner by id: the platform names learners so, and no statement has to find the name."""

    id: Any

    @property
    def username(self) -> UserId:
        return UserId(self.id)

    @property
    def is_authenticated(self) -> bool:
        return True


class _Unit:
    """The stores of one handler: one a learner, in one unit of work."""

    def __init__(self) -> None:
        self._stores: dict[Any, UserStateKeyValueStore] = {}
        self._stack = ExitStack()

    def store_of(self, user_id: Any) -> UserStateKeyValueStore:
        if not self._stores:
            # The first store owns the unit. Most handlers change the state of one learner only.
            self._stores[user_id] = _new_store(user_id)
            self._stack.enter_context(self._stores[user_id].unit_of_work())
        if user_id not in self._stores:
            owner = next(iter(self._stores.values()))
            self._stores[user_id] = owner.for_learner(Learner(user_id))
        return self._stores[user_id]

    def __enter__(self) -> _Unit:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


_REQUEST: ContextVar[HttpRequest | None] = ContextVar("xblock_user_state_openedx_request", default=None)
_UNIT: ContextVar[_Unit | None] = ContextVar("xblock_user_state_openedx_unit", default=None)


@contextmanager
def unit_of_work() -> Iterator[None]:
    """Commit scores and fields together when the ``with`` block ends: one history entry a block.

    The platform saves a score (a signal of the grade) and the block's fields apart. A unit inside another joins it. An
    exception discards the changes of the unit.
    """
    if _UNIT.get() is not None:
        yield
        return
    with flushed_at_the_end(), _Unit() as unit:
        token = _UNIT.set(unit)
        try:
            yield
        finally:
            _UNIT.reset(token)


def in_unit_of_work(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a handler of the platform in a unit of work."""
    with unit_of_work():
        return original(*args, **kwargs)


def store_of(user_id: Any) -> UserStateKeyValueStore:
    """Return the store of a learner: the one of the running unit of work, else a new one."""
    # Some callers in the platform give a user, which Django's queries take for its id.
    user_id = getattr(user_id, "pk", user_id)
    unit = _UNIT.get()
    return _new_store(user_id) if unit is None else unit.store_of(user_id)


class StoreFinder:
    """Finds the store of a learner for the caches of a request, which share what it has read."""

    def __init__(self, user_id: Any) -> None:
        self._user_id = user_id
        self._own: UserStateKeyValueStore | None = None

    def __call__(self) -> UserStateKeyValueStore:
        """Return the store of the running unit of work, else the store that the caches have for themselves."""
        unit = _UNIT.get()
        if unit is not None:
            return unit.store_of(self._user_id)
        if self._own is None:
            self._own = _new_store(self._user_id)
        return self._own


def store_of_visitor(user: Any, *, read_only: bool) -> UserStateKeyValueStore:
    """Return the store of a visitor without an account. With `read_only` it drops what is the visitor's own."""
    return UserStateKeyValueStore(MirroringClient(), user, read_only=read_only)


def _new_store(user_id: Any) -> UserStateKeyValueStore:
    return UserStateKeyValueStore(MirroringClient(acting_user()), Learner(user_id))


@contextmanager
def acting_in(request: HttpRequest) -> Iterator[None]:
    """Take the user of a request for the actor of what it changes."""
    token = _REQUEST.set(request)
    try:
        yield
    finally:
        _REQUEST.reset(token)


def acting_user() -> Any:
    """Return the user of the running request, who is the actor in the history; ``None`` outside of requests."""
    return getattr(_REQUEST.get(), "user", None)

"""The methods of the platform's `DjangoXBlockUserStateClient`, over this store.

Methods are replaced, not the class: many modules have imported its name. Errors are the platform's own classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from xblock.fields import Scope

from xblock_user_state.interface import DoesNotExist, PermissionDenied, ServiceUnavailable
from xblock_user_state.openedx.platform import copying, mirror
from xblock_user_state.openedx.platform.learners import acting_user
from xblock_user_state.openedx.platform.mirror import MirroringClient, address_of_block
from xblock_user_state.openedx.platform.served_table import on_the_platforms_tables
from xblock_user_state.openedx.platform.stages import site_stage, stage_of
from xblock_user_state.store import users

Original = Callable[..., Any]


def get_many(
    original: Original,
    client: Any,
    username: str,
    block_keys: Collection[Any],
    scope: Scope = Scope.user_state,
    fields: Collection[str] | None = None,
) -> Iterator[Any]:
    """Yield states, from the store that serves each block's course."""
    _check_scope(scope)
    here, there = _parted(block_keys)
    with _translated(client):
        yield from _ours(client).get_many(username, here, scope, fields)
    if there:
        yield from original(client, username, there, scope, fields)


def set_many(
    original: Original,
    client: Any,
    username: str,
    block_keys_to_state: Mapping[Any, Any],
    scope: Scope = Scope.user_state,
) -> None:
    """Overlay fields. A visitor's writes are dropped, as the platform does."""
    _check_scope(scope)
    if not username:
        return
    here, there = _parted(block_keys_to_state)
    with _translated(client):
        if here:
            _ours(client).set_many(username, {key: block_keys_to_state[key] for key in here}, scope)
    if there:
        named = {key: block_keys_to_state[key] for key in there}
        with on_the_platforms_tables():
            original(client, username, named, scope)
        _note(client, username, there, lambda key: copying.set_fields(named[key]))


def delete_many(
    original: Original,
    client: Any,
    username: str,
    block_keys: Collection[Any],
    scope: Scope = Scope.user_state,
    fields: Collection[str] | None = None,
) -> None:
    """Remove fields, or all."""
    _check_scope(scope)
    here, there = _parted(block_keys)
    names = None if fields is None else [*fields]
    with _translated(client):
        if here:
            _ours(client).delete_many(username, here, scope, names)
    if there:
        with on_the_platforms_tables():
            original(client, username, there, scope, names)
        _note(client, username, there, lambda _: copying.remove_fields(names))


def get_history(
    original: Original, client: Any, username: str, block_key: Any, scope: Scope = Scope.user_state
) -> Iterator[Any]:
    """Yield the states of a block after each change, newest first."""
    _check_scope(scope)
    if not stage_of(block_key.context_key).is_served_here:
        yield from original(client, username, block_key, scope)
        return
    with _translated(client):
        yield from _ours(client).get_history(username, block_key, scope)


def iter_all_for_block(
    original: Original, client: Any, block_key: Any, scope: Scope = Scope.user_state
) -> Iterator[Any]:
    """Yield the states of all learners in a block."""
    _check_scope(scope)
    if stage_of(block_key.context_key).is_served_here:
        return _ours(client).iter_all_for_block(block_key, scope)
    found: Iterator[Any] = original(client, block_key, scope)
    return found


def iter_all_for_course(
    original: Original, client: Any, course_key: Any, block_type: str | None = None, scope: Scope = Scope.user_state
) -> Iterator[Any]:
    """Yield the states of all learners in a course."""
    _check_scope(scope)
    if stage_of(course_key).is_served_here:
        return _ours(client).iter_all_for_course(course_key, block_type, scope)
    found: Iterator[Any] = original(client, course_key, block_type, scope)
    return found


def _check_scope(scope: Scope) -> None:
    # The platform's client refuses the other scopes, and its callers rely on that.
    if scope != Scope.user_state:
        raise ValueError(f"Only Scope.user_state is supported, not {scope}")


def _parted(block_keys: Collection[Any]) -> tuple[list[Any], list[Any]]:
    """Return the keys of courses that this store serves, and the others."""
    parts: Mapping[bool, list[Any]] = defaultdict(list)
    for key in block_keys:
        parts[stage_of(key.context_key).is_served_here].append(key)
    return parts[True], parts[False]


def _ours(client: Any) -> MirroringClient:
    """Return the client of this store that stands behind one of the platform's; it keeps what it has read."""
    if not hasattr(client, "xblock_user_state_client"):
        client.xblock_user_state_client = MirroringClient(acting_user() or client.user)
    found: MirroringClient = client.xblock_user_state_client
    return found


def _note(client: Any, username: str, keys: list[Any], step: Callable[[Any], copying.Step]) -> None:
    if not site_stage().has_copies:
        return
    user = client.user
    known = user is not None and user.username == username
    user_id = user.pk if known else users.user_id(username)
    for key in keys:
        mirror.written_by_the_platform(partial(address_of_block, key, user_id), step(key))


@contextmanager
def _translated(client: Any) -> Iterator[None]:
    """Raise the errors of the platform's client for ours."""
    try:
        yield
    except DoesNotExist as error:
        raise client.DoesNotExist(*error.args) from error
    except PermissionDenied as error:
        raise client.PermissionDenied(*error.args) from error
    except ServiceUnavailable as error:
        raise client.ServiceUnavailable(*error.args) from error

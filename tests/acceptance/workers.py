"""Worker functions: generators, each of which is the work of one process. See `processes`.

They yield each committed value right after the call that committed it.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, connections, transaction
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from tests.acceptance.agreement import assert_agreement
from tests.acceptance.messages import Pause
from tests.factories import BY
from xblock_user_state.actions import move_state
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import BlockKey, ServiceUnavailable, XBlockUserStateClient
from xblock_user_state.maintenance import moved_history, moving
from xblock_user_state.models import StudentModule

States = Mapping[BlockKey, Mapping[str, Any]]

# Between nodes of a cluster, a conflict in a caller's transaction may come as the driver's error at its COMMIT.
REFUSALS = (ServiceUnavailable, OperationalError) if "WORKER_PORTS" in os.environ else (ServiceUnavailable,)


def set_fields(
    username: str | None, block: UsageKey, names: Sequence[str], scope: Scope = Scope.user_state
) -> Iterator[str]:
    """Set field after field, each to the value of its name."""
    client = DjangoXBlockUserStateClient()
    for name in names:
        client.set(username, block, {name: name}, scope)
        yield name


def set_fields_at(isolation: str, username: str, block: UsageKey, names: Sequence[str]) -> Iterator[str]:
    """Set field after field in a session of this isolation level."""
    set_isolation(isolation)
    yield from set_fields(username, block, names)


def set_many(username: str, calls: Sequence[States]) -> Iterator[int]:
    """Set the states of many blocks in each call."""
    client = DjangoXBlockUserStateClient()
    for number, states in enumerate(calls):
        client.set_many(username, states)
        yield number


def set_many_in_step(username: str, calls: Sequence[States]) -> Iterator[Any]:
    """Set the states of many blocks in each call, and pause before each."""
    client = DjangoXBlockUserStateClient()
    for states in calls:
        yield Pause()
        client.set_many(username, states)


def set_scores(username: str, block: UsageKey, grades: Sequence[float]) -> Iterator[float]:
    """Set the score again and again."""
    client = DjangoXBlockUserStateClient()
    for grade in grades:
        client.set_score(username, block, grade, 1000)
        yield grade


def count_up(username: str, blocks: Sequence[UsageKey], field: str, start: int) -> Iterator[int]:
    """Set the field to one number in all blocks, then to the next number, without end."""
    client = DjangoXBlockUserStateClient()
    for number in count(start):
        client.set_many(username, {block: {field: number} for block in blocks})
        yield number


def count_up_twice(username: str, block: UsageKey) -> Iterator[int]:
    """Set two fields of the block to one number, then to the next number, without end."""
    client = DjangoXBlockUserStateClient()
    for number in count(1):
        client.set(username, block, {"number": number, "again": number})
        yield number


def with_settings(flags: Mapping[str, Any], work: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
    """Run a worker function under these settings of the package."""
    settings.XBLOCK_USER_STATE = flags
    yield from work(*arguments)


def count_up_in_transactions(username: str, blocks: Sequence[UsageKey], field: str, start: int) -> Iterator[int]:
    """Count up as `count_up` does, each number in a transaction that also creates a group; some are rolled back."""
    client = DjangoXBlockUserStateClient()
    for number in count(start):
        is_committed = number % 3 > 0
        try:
            with transaction.atomic():
                Group.objects.create(name=f"{username} {field} {number}")
                client.set_many(username, {block: {field: number} for block in blocks})
                client.set(username, blocks[0], {"again": number})
                transaction.set_rollback(not is_committed)
        except ServiceUnavailable:
            continue
        if is_committed:
            yield number


def count_up_and_delete(username: str, blocks: Sequence[UsageKey], field: str, start: int) -> Iterator[Deleted | None]:
    """Count up as `count_up` does, and delete for good: a row, all of the learner's rows, and temporary learners.

    Yield after each call the deletions that were committed with it.
    """
    client = DjangoXBlockUserStateClient()
    for number in count(start):
        client.set_many(username, {block: {field: number} for block in blocks})
        deleted = None
        # A deadlock with another writer has undone the deletion.
        with suppress(OperationalError):
            if number % 3 == 2:
                deleted = _come_and_go(f"{field}-{number}", blocks)
            else:
                deleted = _delete_rows(username, most=1 if number % 3 == 0 else None)
        yield deleted


class Deleted(NamedTuple):
    """Permanent deletions: rows of one learner, or a learner with all of their rows."""

    kind: str
    learner: str


def _delete_rows(username: str, most: int | None) -> Deleted:
    rows = StudentModule.objects.filter(student__username=username)
    if most is None:
        rows.delete()
        return Deleted("all rows", username)
    for row in rows.order_by("block_id")[:most]:
        row.delete()
    return Deleted("a row", username)


def _come_and_go(username: str, blocks: Sequence[UsageKey]) -> Deleted:
    learner = get_user_model().objects.create_user(username)
    DjangoXBlockUserStateClient(learner).set_many(username, {block: {"passing": 1} for block in blocks})
    learner.delete()
    return Deleted("a learner", username)


def batches(username: str, block: UsageKey, marks: Sequence[str]) -> Iterator[str]:
    """Set the same mark in all scopes in one batch, then the next mark in the next batch."""
    client = DjangoXBlockUserStateClient()
    for number, mark in enumerate(marks, 1):
        set_in_all_scopes(client, username, block, mark, float(number))
        yield mark


def set_in_all_scopes(client: XBlockUserStateClient, username: str, block: UsageKey, mark: str, grade: float) -> None:
    """Set a mark and a score in one batch."""
    fields = {"mark": mark}
    with client.batch(username) as batch:
        batch.set(block, fields)
        batch.set_score(block, grade, 1000)
        batch.set("problem", fields, Scope.preferences)
        batch.set(None, fields, Scope.user_info)
        batch.set(block, fields, Scope.user_state_summary)


def batch_until_death(username: str, block: UsageKey, mark: str, statement: int) -> Iterator[str]:
    """Set a mark in all scopes and die right after the nth statement; with fewer statements, yield the mark."""
    client = DjangoXBlockUserStateClient()
    with connection.execute_wrapper(_Executioner(statement)):
        set_in_all_scopes(client, username, block, mark, 1.0)
    yield mark


def move_until_death(old: UsageKey, new: UsageKey, page: int, statement: int) -> Iterator[int]:
    """Move the state of a block in small pages, and die right after the nth statement on any database.

    With fewer statements, yield the number of states.
    """
    moving.PAGE = moved_history.ENTRIES = page
    executioner = _Executioner(statement)
    with ExitStack() as watched:
        for alias in connections:
            watched.enter_context(connections[alias].execute_wrapper(executioner))
        moved = move_state(old, new, **BY)
    yield moved.states


class _Executioner:
    """Lets some statements pass and kills the process after the last of them."""

    def __init__(self, statements: int) -> None:
        self._left = statements

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        result = execute(*arguments)
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def vote(usernames: Sequence[str], block: UsageKey) -> Iterator[str]:
    """Let each learner vote: one batch sets a field of the block's summary and one of the learner's state."""
    client = DjangoXBlockUserStateClient()
    for username in usernames:
        with client.batch(username) as batch:
            batch.set(block, {username: "yes"}, Scope.user_state_summary)
            batch.set(block, {"voted": True})
        yield username


def set_in_transactions(username: str, isolation: str, calls: Sequence[States]) -> Iterator[tuple[int, bool]]:
    """Set each block in a transaction of the caller; yield for each whether it was committed."""
    set_isolation(isolation)
    client = DjangoXBlockUserStateClient()
    for number, states in enumerate(calls):
        try:
            with transaction.atomic():
                for block, fields in states.items():
                    client.set(username, block, fields)
        except REFUSALS:
            yield number, False
        else:
            yield number, True


def transact(username: str, steps: Sequence[States | Pause]) -> Iterator[Any]:
    """Take steps in one transaction of the caller, yield after each; at the end, yield whether it was committed."""
    client = DjangoXBlockUserStateClient()
    try:
        with transaction.atomic():
            for step in steps:
                if not isinstance(step, Pause):
                    client.set_many(username, step)
                yield step
    except ServiceUnavailable:
        yield False
    else:
        yield True


def set_after_a_look(username: str, isolation: str, block: UsageKey, fields: Mapping[str, Any]) -> Iterator[Any]:
    """Read the state, pause, and set fields in a transaction of the caller. Yield whether it was committed."""
    set_isolation(isolation)
    client = DjangoXBlockUserStateClient()
    try:
        with transaction.atomic():
            list(client.get_many(username, [block]))
            yield Pause()
            client.set(username, block, fields)
    except ServiceUnavailable:
        yield False
    else:
        yield True


def set_isolation(level: str) -> None:
    """Let this session's transactions run at an isolation level."""
    if connection.vendor == "sqlite":
        return
    session = "SESSION CHARACTERISTICS AS" if connection.vendor == "postgresql" else "SESSION"
    with connection.cursor() as cursor:
        cursor.execute(f"SET {session} TRANSACTION ISOLATION LEVEL {level}")


def keep_setting(username: str, block: UsageKey) -> Iterator[tuple[int, bool]]:
    """Set field after field without end, on a connection that may break; yield for each whether that succeeded."""
    client = DjangoXBlockUserStateClient()
    for number in count():
        try:
            client.set(username, block, {f"{number}": number})
        except ServiceUnavailable:
            yield number, False
        else:
            yield number, True


def read_states(username: str, blocks: Sequence[UsageKey]) -> Iterator[int]:
    """Read the states of all blocks without end; each write sets all of them to the same value."""
    client = DjangoXBlockUserStateClient()
    for number in count():
        states = [one.state for one in client.get_many(username, blocks)]
        assert states in ([], states[:1] * len(blocks)), states
        yield number


def read_history(username: str, block: UsageKey, field: str) -> Iterator[int]:
    """Read the history without end: the field's numbers must rise by one."""
    client = DjangoXBlockUserStateClient()
    seen = 0
    for number in count():
        newest_first = [(one.state or {})[field] for one in client.get_history(username, block)]
        assert newest_first == list(range(len(newest_first), 0, -1))
        assert len(newest_first) >= seen
        seen = len(newest_first)
        yield number


def read_all_learners(usernames: Sequence[str], block: UsageKey, batch_size: int) -> Iterator[int]:
    """Iterate over all learners of a block without end: each comes once, with equal values in all fields."""
    client = DjangoXBlockUserStateClient()
    for number in count():
        found = list(client.iter_all_for_block(block, batch_size=batch_size))
        assert sorted(str(one.username) for one in found) == sorted(usernames)
        assert all(len(set((one.state or {}).values())) == 1 for one in found), found
        yield number


def check_agreement() -> Iterator[int]:
    """Check the laws of history without end."""
    while True:
        yield assert_agreement()


def iterate(block: UsageKey, batch_size: int) -> Iterator[tuple[int, int]]:
    """Iterate over all learners of a block; yield their number, and the growth of peak memory in KiB."""
    client = DjangoXBlockUserStateClient()
    next(client.iter_all_for_block(block, batch_size=1))
    before = _peak_memory()
    found = sum(1 for _ in client.iter_all_for_block(block, batch_size=batch_size))
    yield found, _peak_memory() - before


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

"""Process of a learner or a reader: ``python -m tests.acceptance.traffic ROLE LEARNER [FLAG]``.

With the flag, new entries go to the extended history. The process works until SIGTERM, and at least once. Like a web
host, it closes its old connections after each request. At the end it prints the number of requests; at a fault it
exits with an error at once.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.db import close_old_connections

if __name__ == "__main__":
    django.setup()

from tests.factories import make_blocks
from xblock_user_state import conf
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.models import StudentModule

BLOCKS = 5
_stopped = False


def begin(start: Callable[..., subprocess.Popen[str]], *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start the process of a learner. It may get SIGTERM at any time, and takes it when it has a handler."""
    # A process inherits the blocked signals. On a busy machine the start of the interpreter outlasts the test.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return start("tests.acceptance.traffic", *arguments, **variables)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def write(client: Any, learner: str) -> None:
    """Change each block of the learner once; the number in the state counts the revisions."""
    client.set_many(learner, {block: {"n": _revision(learner, block)} for block in _blocks()})


def read(client: Any, learner: str) -> None:
    """Read a block's history, which must have every revision exactly once."""
    block = random.choice(_blocks())
    committed = _revision(learner, block)
    numbers = [entry.state["n"] for entry in client.get_history(learner, block)]
    assert len(numbers) >= committed, f"{committed} revisions were committed; read {numbers}"
    assert numbers == list(range(len(numbers) - 1, -1, -1)), f"the history has {numbers}"


def read_or_be_refused(client: Any, learner: str) -> None:
    """Read as `read` does; while the history database is down an error is allowed, an incomplete history is not."""
    try:
        read(client, learner)
    except ServiceUnavailable as error:
        if conf.history_database() not in str(error):
            raise


def churn(client: Any, learner: str) -> None:
    """Delete all of the learner's state for good, and begin anew."""
    life = random.getrandbits(32)
    StudentModule.objects.filter(student__username=learner).delete()
    for number in range(3):
        client.set_many(learner, {block: {"n": number, "life": life} for block in _blocks()})


ROLES: dict[str, Callable[[Any, str], None]] = {
    "write": write,
    "read": read,
    "read_or_be_refused": read_or_be_refused,
    "churn": churn,
}


def _blocks() -> list[Any]:
    return make_blocks(BLOCKS)


def _revision(learner: str, block: Any) -> int:
    rows = StudentModule.objects.filter(student__username=learner, block__usage_key=str(block))
    return rows.values_list("revision", flat=True).first() or 0


def _stop(*_: object) -> None:
    global _stopped  # noqa: PLW0603 (there is no other way out of a signal handler)
    _stopped = True


def main(role: str, learner: str, extended: str = "") -> None:
    signal.signal(signal.SIGTERM, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": bool(extended)}
    count = 0
    while not (_stopped and count):
        ROLES[role](DjangoXBlockUserStateClient(), learner)
        close_old_connections()
        count += 1
        # Give other processes a turn, on SQLite too, where they wait for each other in steps of up to 100 ms.
        time.sleep(0.02)
    print(count)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Access policies of hosts: whether an actor may do something to a learner's state in a context and block.

A client with a policy asks it before any SQL, and so do actions and the runtime's service ``user_state``. A refusal
says nothing of the learner or the block: it is the same for one that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from opaque_keys.edx.keys import LearningContextKey

from xblock_user_state.interface import BlockKey, Learner, PermissionDenied, UserId

__all__ = ["Action", "OwnState", "Policy", "Question", "is_own"]


class Action(StrEnum):
    """The kinds of access that a policy is asked for."""

    READ = "read"
    """The state and scores of one learner."""
    WRITE = "write"
    SEE_HISTORY = "see_history"
    REPORT = "report"
    """The states of all learners in a block or a course."""
    ACT = "act"
    """Reset, restore, rescore, move: changes that staff make on purpose."""
    ERASE = "erase"
    """Delete for good, with the history."""


_PHRASES = {
    Action.READ: "read the state of",
    Action.WRITE: "change the state of",
    Action.SEE_HISTORY: "see the history of",
    Action.REPORT: "read the states of",
    Action.ACT: "act on the state of",
    Action.ERASE: "erase the state of",
}


class Policy(Protocol):
    """The host's answers. One that raises refuses, too: nothing was read or written.

    The message of a `PermissionDenied` that `may` raises is the reason, which ends the message of the refusal.
    """

    def may(
        self,
        actor: Any,
        action: Action,
        username: Learner,
        context_key: LearningContextKey | None,
        block_key: BlockKey,
    ) -> bool:
        """Tell whether `actor` may do it. A call asks once for each of its blocks, so answer without a statement each.

        `actor` is the user of the client, as the host gave it: a user, a username, or ``None`` for nobody.

        `username` is the learner as the call names them, perhaps one who does not exist: a name, ``""`` for a visitor,
        or a `UserId`; the actor's own id comes as their name. It is ``None`` for all learners, and for state that they
        share (``user_state_summary``).

        `block_key` is the canonical key of a block, or a block type for ``preferences``; ``None`` if the call is about
        all blocks of a context, or about ``user_info``. `context_key` is ``None`` for state that belongs to no course,
        and for calls that reach over courses.
        """


class OwnState:
    """Learners read and change their own state, and see its history. All accounts share the summary of a block.

    Visitors read that summary, and do not change it. All else is refused: subclass it to allow more.
    """

    def may(
        self,
        actor: Any,
        action: Action,
        username: Learner,
        context_key: LearningContextKey | None,
        block_key: BlockKey,
    ) -> bool:
        if username is None:
            return action == Action.READ or (action == Action.WRITE and name_of(actor) != "")
        return action in (Action.READ, Action.WRITE, Action.SEE_HISTORY) and is_own(actor, username)


OWN_STATE = OwnState()


class Question(NamedTuple):
    """A question to a policy."""

    actor: Any
    action: Action
    username: Learner
    context_key: LearningContextKey | None = None
    block_key: BlockKey = None

    @property
    def is_of_others(self) -> bool:
        """Tell whether it is about other learners' state, also among the states of all."""
        if self.username is None:
            return self.action not in (Action.READ, Action.WRITE)
        return not is_own(self.actor, self.username)

    def answered(self, is_allowed: bool) -> str:
        """Return question and answer as a sentence: actor, act, learner, block and context."""
        learner = "all learners" if self.username is None else repr(self.username)
        name = name_of(self.actor)
        places = ", ".join(str(place) for place in (self.block_key, self.context_key) if place is not None)
        verb = "may" if is_allowed else "may not"
        sentence = f"{self.actor if name is None else repr(name)} {verb} {_PHRASES[self.action]} {learner}"
        return f"{sentence} in {places}" if places else sentence


Report = Callable[[Question, bool], None]
"""Takes each question with its answer, for the log and the metrics."""


def ask(policy: Policy, question: Question, report: Report) -> None:
    """Ask a policy. Raises `PermissionDenied`, which names the actor, the act, the context and the policy's reason."""
    reason = ""
    try:
        is_allowed = bool(policy.may(*question))
    except PermissionDenied as refusal:
        is_allowed, reason = False, f": {refusal}"
    report(question, is_allowed)
    if not is_allowed:
        raise PermissionDenied(question.answered(is_allowed) + reason)


def is_own(actor: Any, username: Learner) -> bool:
    """Tell whether a learner is the actor. Names are compared exactly."""
    return username is not None and username == (actor if isinstance(actor, UserId) else name_of(actor))


def name_of(actor: Any) -> str | None:
    """Return the username of an actor, ``""`` for nobody; ``None`` if only the id is known."""
    if actor is None or isinstance(actor, str):
        return actor or ""
    return None if isinstance(actor, UserId) else str(actor.get_username())

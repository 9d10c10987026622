"""Grants of a token: its actions, its courses, and whether it reaches the actor's own state only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import LearningContextKey

from xblock_user_state.access import Action, Policy, Question
from xblock_user_state.interface import BlockKey, Learner, PermissionDenied
from xblock_user_state.state.keys import identify_context

__all__ = ["TokenPolicy", "parse_scopes"]

ACTIONS: Mapping[str, Action] = {
    "state:read": Action.READ,
    "state:write": Action.WRITE,
    "history:read": Action.SEE_HISTORY,
    "report:read": Action.REPORT,
    "act": Action.ACT,
    "erase": Action.ERASE,
}
"""The action that each scope grants. None implies another."""

_SCOPES = {action: scope for scope, action in ACTIONS.items()}

OWN = "own"
"""The scope that limits a token to its actor's own state, and to the state that all learners share."""

COURSE = "course:"
"""The scope that limits a token to a course run or library, whose key follows. With several, to any of these."""


@dataclass(frozen=True)
class Grants:
    """The grants of a token. All limits hold together."""

    actions: frozenset[Action]
    contexts: frozenset[int] | None = None
    """Ids of learning contexts; ``None`` for all."""
    own_only: bool = False

    def check(self, question: Question) -> None:
        """Raise `PermissionDenied` with the limit of the token that is in the way.

        If there is none, the host's policy decides whether its actor may do it.
        """
        if question.action not in self.actions:
            raise PermissionDenied(f"the token lacks the scope {_SCOPES[question.action]!r}")
        if self.own_only and question.is_of_others:
            raise PermissionDenied("the token is for its user's own state only")
        if self.contexts is not None and _id_of(question.context_key) not in self.contexts:
            raise PermissionDenied("the token is for other courses or libraries")


def parse_scopes(text: str) -> Grants:
    """Return the grants of a ``scope`` claim: words with spaces between.

    Raises ``ValueError`` for an unknown word: it may be meant as a limit, which must not be passed over.
    """
    actions: set[Action] = set()
    contexts: set[int] = set()
    own_only = False
    for word in text.split():
        if word.startswith(COURSE):
            contexts.add(_context_of(word))
        elif word == OWN:
            own_only = True
        elif word in ACTIONS:
            actions.add(ACTIONS[word])
        else:
            raise ValueError(f"{word!r} is not a scope; known are {', '.join((*ACTIONS, OWN, COURSE + 'KEY'))}")
    return Grants(frozenset(actions), frozenset(contexts) or None, own_only)


class TokenPolicy(NamedTuple):
    """Refuses all that a token does not grant, and asks the host's policy about the rest."""

    grants: Grants
    host: Policy

    def may(
        self,
        actor: Any,
        action: Action,
        username: Learner,
        context_key: LearningContextKey | None,
        block_key: BlockKey,
    ) -> bool:
        """Tell whether the host allows it. Raises `PermissionDenied`, with nothing looked up, if the token does not."""
        question = Question(actor, action, username, context_key, block_key)
        self.grants.check(question)
        return bool(self.host.may(*question))


def _context_of(word: str) -> int:
    key = word.removeprefix(COURSE)
    try:
        return identify_context(LearningContextKey.from_string(key))
    except (InvalidKeyError, ValueError) as error:
        raise ValueError(f"{word!r} is not a scope: {key!r} is not the key of a course run or library") from error


def _id_of(key: LearningContextKey | None) -> int | None:
    """Return the id of a learning context; ``None`` for no context, and for one that can have no state."""
    try:
        return None if key is None else identify_context(key)
    except ValueError:
        return None

"""Asks a client's policy about rows, before the client reads or writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.access import Action, Policy, Question, Report, ask, name_of
from xblock_user_state.interface import BlockKey, UserId
from xblock_user_state.state.keys import RowKey, canonical_key, context_of


class Asker:
    """A client calls it first in each method. This one asks nobody: its client serves the host's own code."""

    def rows(self, action: Action, username: str | UserId | None, scope: Scope, rows: Iterable[RowKey]) -> None:
        """Ask for each row of a learner, or once for the learner if there are none. Raises `PermissionDenied`."""

    def context(
        self,
        action: Action,
        username: str | UserId | None,
        context_key: LearningContextKey | None,
        block_key: BlockKey = None,
    ) -> None:
        """Ask for a context. Raises `PermissionDenied`."""


@dataclass(frozen=True)
class AskPolicy(Asker):
    """The asker of a client with a policy. `actor` is the client's user, with the id `own_id`."""

    actor: Any
    policy: Policy
    report: Report
    own_id: Any

    def rows(self, action: Action, username: str | UserId | None, scope: Scope, rows: Iterable[RowKey]) -> None:
        # The row is the same for every learner.
        learner = None if scope is Scope.user_state_summary else username
        # A call without blocks would tell an unknown learner from a known one.
        for row in [*rows] or [None]:
            key = canonical_key(row)
            self.context(action, learner, context_of(key) if isinstance(key, UsageKey) else None, key)

    def context(
        self,
        action: Action,
        username: str | UserId | None,
        context_key: LearningContextKey | None,
        block_key: BlockKey = None,
    ) -> None:
        # Policies compare names.
        is_own_id = isinstance(username, UserId) and self.own_id is not None and str(username.id) == str(self.own_id)
        learner = name_of(self.actor) if is_own_id else username
        ask(self.policy, Question(self.actor, action, learner, context_key, block_key), self.report)


def asker_for(actor: Any, policy: Policy | None, report: Report, own_id: Any = None) -> Asker:
    """Return the asker of a client's user, with their id, and policy. Raises ``TypeError`` if it is no policy."""
    if policy is None:
        return Asker()
    if not callable(getattr(policy, "may", None)):
        raise TypeError(f"policy must have a method may, as xblock_user_state.access.Policy has, not be {policy!r}")
    return AskPolicy(actor, policy, report, own_id)

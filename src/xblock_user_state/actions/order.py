"""The order of an action: who acts, why, and how; and its rows in the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict
from uuid import UUID, uuid4

from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.access import Action, Policy, Question, ask
from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.interface import Learner
from xblock_user_state.metrics.access import report_access
from xblock_user_state.state.change import clock
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.users import id_of


class Options(TypedDict, total=False):
    """Keywords that all actions on learners take."""

    policy: Policy | None
    """Asked whether the actor may act on each named learner, block and course, before any statement."""
    dry_run: bool
    """Change nothing, and return the result that the action would have."""
    resume: UUID | None
    """The id of an interrupted call: leave out the learners whom that call has changed, and go on under its id."""
    progress: Callable[[int, int], object] | None
    """Called after each learner with the number of learners done, and of all."""
    run: UUID | None
    """The id in the log, for work that is done in several calls; a new one by default."""
    if_revisions: Mapping[tuple[Any, UsageKey], int] | None
    """The revisions of a preview, by id of the learner and key: blocks that have another one by now are skipped."""


@dataclass(frozen=True)
class Order:
    """An action of an actor. Raises ``TypeError`` or ``ValueError`` without an actor or a reason."""

    act: str
    actor: Any
    reason: str
    policy: Policy | None = None
    dry_run: bool = False
    resume: UUID | None = None
    progress: Callable[[int, int], object] | None = None
    run: UUID | None = None
    if_revisions: Mapping[tuple[Any, UsageKey], int] | None = None
    id: UUID = field(init=False, default_factory=uuid4)

    def __post_init__(self) -> None:
        if not getattr(self.actor, "is_authenticated", False) or id_of(self.actor) is None:
            raise ValueError(f"actor must be a saved user, not {self.actor!r}: the log names who acted")
        if not isinstance(self.reason, str):
            raise TypeError(f"reason must be a string, not {self.reason!r} ({type(self.reason).__name__})")
        if not self.reason.strip():
            raise ValueError("reason must not be empty: the log says why")
        id_ = self.resume or self.run
        if id_ is not None:
            object.__setattr__(self, "id", id_)

    def ask(
        self,
        action: Action,
        learner: Learner,
        context_key: LearningContextKey | None,
        block_key: UsageKey | None = None,
    ) -> None:
        """Ask the policy, if there is one. Raises `PermissionDenied`."""
        if self.policy is not None:
            ask(self.policy, Question(self.actor, action, learner, context_key, block_key), report_access)

    def entry(self, **columns: Any) -> LoggedAction:
        """Return a row of the log, not saved yet."""
        return LoggedAction(
            run=self.id, act=self.act, actor_id=id_of(self.actor), reason=self.reason, created=clock(), **columns
        )

    def log(self, *entries: LoggedAction) -> None:
        """Save rows of the log, in the caller's transaction if there is one."""
        LoggedAction.objects.using(state_database()).bulk_create(entries)

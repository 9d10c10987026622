"""The order of an action: who acts, why, and how; and its rows in the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict
from uuid import UUID, uuid4

from xblock_user_state.access import Policy
from xblock_user_state.actions.models import LoggedAction
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
    run: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        if not getattr(self.actor, "is_authenticated", False) or id_of(self.actor) is None:
            raise ValueError(f"actor must be a saved user, not {self.actor!r}: the log names who acted")
        if not isinstance(self.reason, str):
            raise TypeError(f"reason must be a string, not {self.reason!r} ({type(self.reason).__name__})")
        if not self.reason.strip():
            raise ValueError("reason must not be empty: the log says why")
        if self.resume is not None:
            object.__setattr__(self, "run", self.resume)

    def entry(self, **columns: Any) -> LoggedAction:
        """Return a row of the log, not saved yet."""
        return LoggedAction(
            run=self.run, act=self.act, actor_id=id_of(self.actor), reason=self.reason, created=clock(), **columns
        )

    def log(self, *entries: LoggedAction) -> None:
        """Save rows of the log, in the caller's transaction if there is one."""
        LoggedAction.objects.using(state_database()).bulk_create(entries)

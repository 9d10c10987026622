"""Actions of staff and operators on learner state, each with an actor, a reason and a log."""

from xblock_user_state.actions.changes import delete_state, override_score, rescore, reset_attempts, restore
from xblock_user_state.actions.deletion import delete_block, delete_course, delete_learner
from xblock_user_state.actions.engine import Acted, Detail
from xblock_user_state.actions.moving import Moved, Skipped, move_state
from xblock_user_state.actions.order import Options
from xblock_user_state.actions.undoing import undo
from xblock_user_state.maintenance.deletion import Deleted

__all__ = [
    "Acted",
    "Deleted",
    "Detail",
    "Moved",
    "Options",
    "Skipped",
    "delete_block",
    "delete_course",
    "delete_learner",
    "delete_state",
    "move_state",
    "override_score",
    "rescore",
    "reset_attempts",
    "restore",
    "undo",
]

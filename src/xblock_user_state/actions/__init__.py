"""Actions of staff and operators on learner state: deletion of a block, a course or a learner, and moves of state."""

from xblock_user_state.actions.deletion import delete_block, delete_course, delete_learner
from xblock_user_state.actions.moving import Moved, Skipped, move_state
from xblock_user_state.maintenance.deletion import Deleted

__all__ = ["Deleted", "Moved", "Skipped", "delete_block", "delete_course", "delete_learner", "move_state"]

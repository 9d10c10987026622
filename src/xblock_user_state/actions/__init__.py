"""Actions of staff and operators on learner state, for good: deletion of a block, a course or a learner."""

from xblock_user_state.actions.deletion import delete_block, delete_course, delete_learner
from xblock_user_state.maintenance.deletion import Deleted

__all__ = ["Deleted", "delete_block", "delete_course", "delete_learner"]

"""Actions of staff and operators on learner state, each with an actor, a reason and a log."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xblock_user_state.actions.changes import delete_state, override_score, rescore, reset_attempts, restore
    from xblock_user_state.actions.deletion import delete_block, delete_course, delete_learner
    from xblock_user_state.actions.engine import Acted, Detail
    from xblock_user_state.actions.erasing import Receipt, erase_learner
    from xblock_user_state.actions.exporting import Export, export_learner
    from xblock_user_state.actions.moving import Moved, Skipped, move_state
    from xblock_user_state.actions.order import Options
    from xblock_user_state.actions.undoing import undo
    from xblock_user_state.maintenance.deletion import Deleted

__all__ = [
    "Acted",
    "Deleted",
    "Detail",
    "Export",
    "Moved",
    "Options",
    "Receipt",
    "Skipped",
    "delete_block",
    "delete_course",
    "delete_learner",
    "delete_state",
    "erase_learner",
    "export_learner",
    "move_state",
    "override_score",
    "rescore",
    "reset_attempts",
    "restore",
    "undo",
]

_HOMES = {
    "changes": ("delete_state", "override_score", "rescore", "reset_attempts", "restore"),
    "deletion": ("Deleted", "delete_block", "delete_course", "delete_learner"),
    "engine": ("Acted", "Detail"),
    "erasing": ("Receipt", "erase_learner"),
    "exporting": ("Export", "export_learner"),
    "moving": ("Moved", "Skipped", "move_state"),
    "order": ("Options",),
    "undoing": ("undo",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load an action at its first use. Every process has the log's model from this room, and few processes act."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)

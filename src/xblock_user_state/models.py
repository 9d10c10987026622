"""The models by name. Each room owns its tables; Django and hosts find all of them here."""

from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.history.models import (
    BaseStudentModuleHistory,
    HistoryOutbox,
    HistoryWatermark,
    StudentModuleHistory,
)
from xblock_user_state.store.models import (
    AnsweredWrite,
    Block,
    LearningContext,
    Preferences,
    StudentModule,
    UserInfo,
    UserStateRow,
    UserStateSummary,
)

__all__ = [
    "AnsweredWrite",
    "BaseStudentModuleHistory",
    "Block",
    "HistoryOutbox",
    "HistoryWatermark",
    "LearningContext",
    "LoggedAction",
    "Preferences",
    "StudentModule",
    "StudentModuleHistory",
    "UserInfo",
    "UserStateRow",
    "UserStateSummary",
]

"""The tables of this app, and the models over its views."""

from __future__ import annotations

from xblock_user_state.openedx.compatible.models import CompatibleStudentModule
from xblock_user_state.openedx.decoded.models import DecodedHistory
from xblock_user_state.openedx.importing.models import ImportedFields, ImportedModule, ImportProgress
from xblock_user_state.openedx.numbers.models import BlockNumber
from xblock_user_state.openedx.platform.models import StageDifference

__all__ = [
    "BlockNumber",
    "CompatibleStudentModule",
    "DecodedHistory",
    "ImportProgress",
    "ImportedFields",
    "ImportedModule",
    "StageDifference",
]

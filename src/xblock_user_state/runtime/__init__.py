"""Binding of an XBlock runtime to a user state client, for hosts."""

from xblock_user_state.runtime.base import BlockRuntime, UserStateRuntime, split_field_data
from xblock_user_state.runtime.block_mixin import OpenEdXBlockMixin
from xblock_user_state.runtime.destinations import clear_masquerade
from xblock_user_state.runtime.grades import GradeGuard
from xblock_user_state.runtime.guarding import run_guarded
from xblock_user_state.runtime.host_services import CurrentUserService, plain_services
from xblock_user_state.runtime.ids import UsageKeyIds
from xblock_user_state.runtime.kvs import UserStateKeyValueStore
from xblock_user_state.runtime.rebinding import RebindUserService
from xblock_user_state.runtime.service import UserStateService

__all__ = [
    "BlockRuntime",
    "CurrentUserService",
    "GradeGuard",
    "OpenEdXBlockMixin",
    "RebindUserService",
    "UsageKeyIds",
    "UserStateKeyValueStore",
    "UserStateRuntime",
    "UserStateService",
    "clear_masquerade",
    "plain_services",
    "run_guarded",
    "split_field_data",
]

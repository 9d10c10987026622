"""Binding of an XBlock runtime to a user state client, for hosts."""

from xblock_user_state.access import only_own
from xblock_user_state.runtime.destinations import clear_masquerade
from xblock_user_state.runtime.grades import GradeGuard
from xblock_user_state.runtime.guarding import run_guarded
from xblock_user_state.runtime.kvs import UserStateKeyValueStore
from xblock_user_state.runtime.service import UserStateService

__all__ = ["GradeGuard", "UserStateKeyValueStore", "UserStateService", "clear_masquerade", "only_own", "run_guarded"]

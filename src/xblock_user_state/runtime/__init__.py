"""For hosts: what binds an XBlock runtime to the user state client."""

from xblock_user_state.access import only_own
from xblock_user_state.runtime.destinations import clear_masquerade
from xblock_user_state.runtime.kvs import UserStateKeyValueStore
from xblock_user_state.runtime.service import UserStateService

__all__ = ["UserStateKeyValueStore", "UserStateService", "clear_masquerade", "only_own"]

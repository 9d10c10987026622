"""For hosts: what binds an XBlock runtime to the user state client."""

from xblock_user_state.runtime.destinations import clear_masquerade
from xblock_user_state.runtime.kvs import UserStateKeyValueStore

__all__ = ["UserStateKeyValueStore", "clear_masquerade"]

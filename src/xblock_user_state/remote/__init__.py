"""The contract over HTTP, for hosts that are not the process with the database. Needs the extra ``client``."""

from xblock_user_state.remote.breaker import Breaker, Listener, State
from xblock_user_state.remote.client import RemoteXBlockUserStateClient
from xblock_user_state.remote.transport import Limits, Token

__all__ = ["Breaker", "Limits", "Listener", "RemoteXBlockUserStateClient", "State", "Token"]

"""State of visitors without an account, in Django's cache, until it expires or an account adopts it."""

from xblock_user_state.ephemeral.client import EphemeralXBlockUserStateClient
from xblock_user_state.ephemeral.session import adopt_visitor, visitor_id

__all__ = ["EphemeralXBlockUserStateClient", "adopt_visitor", "visitor_id"]

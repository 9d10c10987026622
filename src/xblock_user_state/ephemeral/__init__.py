"""Learners who are not logged in: their state in Django's cache, until it expires or they have an account."""

from xblock_user_state.ephemeral.client import EphemeralXBlockUserStateClient
from xblock_user_state.ephemeral.session import adopt_visitor, visitor_id

__all__ = ["EphemeralXBlockUserStateClient", "adopt_visitor", "visitor_id"]

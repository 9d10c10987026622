"""Learner state as pure values: JSON texts, keys, changes and comparisons, without Django or a database."""

from xblock_user_state.state.codec import decode, encode
from xblock_user_state.state.comparison import FieldChange, diff

__all__ = ["FieldChange", "decode", "diff", "encode"]

"""Learners' state in XBlocks: current state, scores and the history of changes.

Import from the modules that the documentation names, such as `xblock_user_state.client`. This module imports nothing,
so it can be imported before Django is set up.
"""

__version__ = "0.1.0.dev0"

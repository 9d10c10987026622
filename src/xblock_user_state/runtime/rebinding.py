"""The XBlock service ``rebind_user``, for blocks whose handlers are called by other servers."""

from __future__ import annotations

from typing import Any

from xblock.core import XBlock


class RebindUserService:
    """Binds a block to the learner for whom a server without a session calls, as blocks for LTI ask.

    Open edX allows it to blocks of anonymous users only. Here it works from any learner, and the earlier changes of the
    block are kept for the earlier learner. It is up to the block to authenticate the caller first.
    """

    def rebind_noauth_module_to_user(self, block: XBlock, real_user: Any) -> None:
        """Bind `block` to a user: see `UserStateRuntime.rebind`."""
        block.runtime.rebind(block, real_user)

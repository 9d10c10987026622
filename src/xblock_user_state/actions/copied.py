"""Refuses actions while another store has copies of learner state, which the actions would not change."""

from __future__ import annotations

from xblock_user_state import conf


def refuse_while_copied() -> None:
    """Raise ``RuntimeError`` on an Open edX site at a stage that keeps both stores equal: `shadow` or `lead`."""
    stage = conf.value("OPENEDX_STAGE")
    if stage in ("shadow", "lead"):
        raise RuntimeError(
            f"at OPENEDX_STAGE {stage!r} the platform's tables hold the same state, and would keep what is deleted or "
            "moved here: delete rows through the platform's model, or wait for another stage"
        )

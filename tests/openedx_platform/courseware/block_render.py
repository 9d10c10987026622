"""Runs the handler of a block."""

from __future__ import annotations

from typing import Any


def _invoke_xblock_handler(
    request: Any, course_id: Any, usage_id: Any, handler: Any, suffix: Any, course: Any = None
) -> Any:
    return handler(request, suffix)

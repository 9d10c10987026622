"""Runs the handler of a library's block."""

from __future__ import annotations

from typing import Any

from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def xblock_handler(  # noqa: PLR0913, PLR0917 (as in the platform)
    request: Any,
    user_id: Any,
    secure_token: Any,
    usage_key: Any,
    handler_name: Any,
    suffix: Any = None,
    version: Any = None,
) -> Any:
    return handler_name(request, suffix)

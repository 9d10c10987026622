"""Writes the description of the service into the documentation: ``python -m scripts.openapi``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import django

PAGE = Path(__file__).parents[1] / "docs/reference/openapi.json"


def main() -> None:
    """Write the file."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    # Ninja reads Django's settings when it is imported.
    from xblock_user_state.service.api import api  # noqa: PLC0415

    PAGE.write_text(json.dumps(api.get_openapi_schema(path_prefix=""), indent=2) + "\n")


if __name__ == "__main__":
    main()

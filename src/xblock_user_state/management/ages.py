"""Ages on the command line, such as ``90d``."""

from __future__ import annotations

import re
from datetime import timedelta

from django.core.management.base import CommandError

AGE_HELP = "a number of hours, days or weeks, such as 36h, 90d or 26w"
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def age(text: str) -> timedelta:
    """Return the age that a text names. Raises ``CommandError``."""
    found = re.fullmatch(r"(\d+)([hdw])", text)
    if not found:
        raise CommandError(f"{text!r} is not an age, such as 36h, 90d or 26w")
    return int(found[1]) * _UNITS[found[2]]

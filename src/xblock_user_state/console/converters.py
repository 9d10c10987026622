"""URL converters. Each accepts any text; old-style keys and some usernames have slashes."""

from __future__ import annotations

import re

from django.urls.converters import StringConverter


class SlashedText:
    """Writes ``/`` as ``;_`` and ``;`` as ``;;``, as the LMS of Open edX does, so that a text is one part of a path."""

    regex = "[^/]+"

    def to_python(self, value: str) -> str:
        """Return the text of a part of a path."""
        return re.sub(";[_;]", lambda found: "/" if found[0] == ";_" else ";", value)

    def to_url(self, value: object) -> str:
        """Return the part of a path for a text or key."""
        return str(value).replace(";", ";;").replace("/", ";_")


class FileForm(StringConverter):
    """The form of a file of responses."""

    regex = "csv|jsonl"

"""URL converters for block keys and usernames. Invalid text matches no address, so the answer is a 404."""

from __future__ import annotations

from django.urls.converters import StringConverter
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import UsageKey


class UsageKeyConverter:
    """Converts between the text of a usage key and a `UsageKey`."""

    regex = "[^/]+"

    def to_python(self, value: str) -> UsageKey:
        try:
            return UsageKey.from_string(value)
        except InvalidKeyError as error:
            raise ValueError(value) from error

    def to_url(self, value: UsageKey) -> str:
        return str(value)


class UsernameConverter(StringConverter):
    """Accepts the characters that Django allows in usernames. Others, such as NUL, are errors on PostgreSQL."""

    regex = r"[\w.@+-]+"

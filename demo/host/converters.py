"""Keys of blocks and names of learners in addresses: what can be neither matches no address, and so is a 404."""

from __future__ import annotations

from django.urls.converters import StringConverter
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import UsageKey


class UsageKeyConverter:
    """Passes usage keys to views."""

    regex = "[^/]+"

    def to_python(self, value: str) -> UsageKey:
        try:
            return UsageKey.from_string(value)
        except InvalidKeyError as error:
            raise ValueError(value) from error

    def to_url(self, value: UsageKey) -> str:
        return str(value)


class UsernameConverter(StringConverter):
    """Passes what Django allows in usernames; PostgreSQL refuses to compare with some of what it does not."""

    regex = r"[\w.@+-]+"

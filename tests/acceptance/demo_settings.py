"""Settings of the demo in tests: its own, but for what a password costs."""

from __future__ import annotations

from demo.settings import *  # noqa: F403

# Visitors log in dozens of times; making a hash that is costly to guess takes half a second of each.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

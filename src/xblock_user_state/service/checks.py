"""System checks of the service's settings. They run on every host, also where the extra ``server`` is not installed."""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from xblock_user_state import conf
from xblock_user_state.service.throttling import parse_rate

_TOKEN = "xblock_user_state.service.authenticating.token"  # noqa: S105 (a dotted path)
# Caches that other processes do not share.
_LOCAL_CACHES = ("django.core.cache.backends.locmem.LocMemCache", "django.core.cache.backends.dummy.DummyCache")


def check_service(**_: Any) -> list[checks.CheckMessage]:
    """Check keys, authenticators and throttling of the service."""
    if not isinstance(conf.configured(), Mapping):
        return []
    return list(_wrong_values()) or [*_check_authenticators(), *_check_keys(), *_check_throttle()]


def _wrong_values() -> Iterator[checks.CheckMessage]:
    for name, (is_right, right) in _RIGHT.items():
        if not is_right(conf.value(name)):
            # Without the value, which may be a key.
            yield checks.Error(
                f"{conf.origin(name)} must be {right}.",
                hint=f"The default is {conf.DEFAULTS[name]!r}.",
                id="xblock_user_state.E004",
            )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_text_or_none(value: object) -> bool:
    return value is None or _is_text(value)


def _are_keys(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, (*value.keys(), *value.values())))


def _are_paths(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_rate(value: object) -> bool:
    try:
        return value is None or parse_rate(value).requests > 0
    except ValueError:
        return False


_RIGHT: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "SERVICE_AUTHENTICATORS": (_are_paths, "a list of dotted paths"),
    "SERVICE_PUBLIC_KEYS": (_are_keys, "a dict of paths of PEM files, or PEM texts, by key id"),
    "SERVICE_SIGNING_KEY": (_is_text_or_none, "the path of a PEM file, or its text, or None"),
    "SERVICE_AUDIENCE": (_is_text, "a text that is not empty"),
    "SERVICE_ISSUER": (_is_text, "a text that is not empty"),
    "SERVICE_THROTTLE": (_is_rate, 'a rate, such as "600/m", or None'),
    "SERVICE_DRAIN_FILE": (_is_text_or_none, "the path of a file, or None"),
}


def _check_authenticators() -> Iterator[checks.CheckMessage]:
    for path in conf.value("SERVICE_AUTHENTICATORS"):
        # Ours import PyJWT, which a host without the service need not have.
        if path in conf.DEFAULTS["SERVICE_AUTHENTICATORS"]:
            continue
        try:
            import_string(path)
        except ImportError as error:
            yield checks.Error(
                f'XBLOCK_USER_STATE["SERVICE_AUTHENTICATORS"] names no function: {error}.',
                hint="The dotted path of a function of a request that returns a Caller or None.",
                id="xblock_user_state.E022",
            )


def _check_keys() -> Iterator[checks.CheckMessage]:
    keys: Collection[str] = conf.value("SERVICE_PUBLIC_KEYS")
    source = conf.value("SERVICE_SIGNING_KEY")
    if not keys and source is None:
        return
    if find_spec("jwt") is None or find_spec("cryptography") is None:
        yield checks.Error(
            "The service has keys for tokens, and the packages that read them are not installed.",
            hint="pip install 'xblock-user-state[server]'",
            id="xblock_user_state.E023",
        )
        return
    yield from _check_public_keys(keys)
    if source is not None:
        yield from _check_signing_key(source)
    if _TOKEN not in conf.value("SERVICE_AUTHENTICATORS"):
        yield checks.Warning(
            "The service has keys for tokens, and accepts no tokens.",
            hint=f'Add {_TOKEN!r} to XBLOCK_USER_STATE["SERVICE_AUTHENTICATORS"].',
            id="xblock_user_state.W020",
        )


def _check_public_keys(key_ids: Collection[str]) -> Iterator[checks.CheckMessage]:
    # Here, because it imports PyJWT.
    from xblock_user_state.service.tokens import public_key  # noqa: PLC0415

    for key_id in key_ids:
        try:
            public_key(key_id)
        except ImproperlyConfigured as error:
            yield checks.Error(
                f"{error}.",
                hint="Name the file of a public key. docs/how-to/run-the-service.md shows how to make one.",
                id="xblock_user_state.E020",
            )


def _check_signing_key(source: str) -> Iterator[checks.CheckMessage]:
    from xblock_user_state.service.tokens import signing_key  # noqa: PLC0415

    try:
        signing_key()
    except ImproperlyConfigured as error:
        yield checks.Error(
            f"{error}.",
            hint="Name the file of a private key whose public key is in SERVICE_PUBLIC_KEYS, or leave it out.",
            id="xblock_user_state.E021",
        )
    with suppress(OSError, ValueError):
        if Path(source).stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            yield checks.Warning(
                'All users of this machine may read or replace the file of XBLOCK_USER_STATE["SERVICE_SIGNING_KEY"].',
                hint="chmod o= FILE",
                id="xblock_user_state.W021",
            )


def _check_throttle() -> Iterator[checks.CheckMessage]:
    if conf.value("SERVICE_THROTTLE") is None:
        return
    if settings.CACHES.get(DEFAULT_CACHE_ALIAS, {}).get("BACKEND") in _LOCAL_CACHES:
        yield checks.Warning(
            'XBLOCK_USER_STATE["SERVICE_THROTTLE"] counts in the default cache, which each process has for itself: '
            "with two workers a token gets up to twice as many requests.",
            hint="Set CACHES to a cache that all processes share, such as Redis or Memcached.",
            id="xblock_user_state.W022",
        )

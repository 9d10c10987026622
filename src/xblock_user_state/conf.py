"""The settings. Each call reads ``settings.XBLOCK_USER_STATE`` anew, so ``override_settings`` works in tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from xblock_user_state.state.keys import is_among

EXTENDED_HISTORY_APP = "xblock_user_state.extended_history"

DEFAULTS: Mapping[str, Any] = {
    # Block types that keep a history; "*" for all.
    "RECORDED_BLOCK_TYPES": ["problem"],
    # Encoding of new history entries: "delta" (the difference to the entry before, compressed) or "plain" (JSON).
    "HISTORY_ENCODING": "delta",
    # Partitions of the history's tables, made while these are empty: by "learner" or by "time"; None for plain tables.
    "HISTORY_PARTITIONS": None,
    # Write new history entries to the extended history, in a separate database.
    "EXTENDED_HISTORY": False,
    # Read the default and the extended history, or only the one that new entries go to.
    "READ_MULTIPLE_HISTORIES": True,
    # Alias of the extended history's database.
    "HISTORY_DATABASE": "student_module_history",
    # Ship new entries there "at_once" after the commit, or "by_relay" (manage.py relay_history).
    "SHIP_HISTORY": "at_once",
    # Seconds that a learner's request waits for that database.
    "HISTORY_TIMEOUT": 5,
    # Alias of a replica of the state's database, for reads of many learners that may be a moment old; None for none.
    "REPLICA": None,
    # The archive of early history: a folder or a URL, as archive_history --to has it; None for none.
    "HISTORY_ARCHIVE": None,
    # Prepare the commonest statements on PostgreSQL: "direct" (unless a pooler stands between), "always" or "never".
    "PREPARE_STATEMENTS": "direct",
    # Sink of metrics: a dotted path, or a dict of "SINK" and "OPTIONS"; None reports nothing.
    "METRICS": None,
    # The policy of the site: a dotted path of a class. The console asks it, and code that is given no other.
    "POLICY": "xblock_user_state.permissions.PermissionPolicy",
    # Log refusals of a policy, and reads of other learners' state.
    "LOG_ACCESS": False,
    # Courses in which holders of permissions may use them: a dotted path of a function of a user and a course key.
    "STAFF_COURSES": None,
    # Bytes of a request, and of an answer, that the HTTP service takes and gives at most.
    "SERVICE_REQUEST_BYTES": 10_000_000,
    "SERVICE_ANSWER_BYTES": 50_000_000,
    # On an Open edX site, which store serves and which gets copies: "off", "shadow", "lead" or "alone".
    "OPENEDX_STAGE": "off",
    # Courses whose state takes part: a dotted path of a function of the course key; None for all.
    "OPENEDX_COURSES": None,
    # The template around the console's pages.
    "CONSOLE_BASE_TEMPLATE": "xblock_user_state_console/base.html",
    # Titles, outlines and answers in words for the console: a dotted path of a class; None for none.
    "CONSOLE_HOST": None,
    # Functions that find the caller of the service's requests, in order: dotted paths.
    "SERVICE_AUTHENTICATORS": [
        "xblock_user_state.service.authenticating.token",
        "xblock_user_state.service.authenticating.session",
    ],
    # Public keys whose tokens the service accepts, by key id: paths of PEM files, or PEM texts.
    "SERVICE_PUBLIC_KEYS": {},
    # The private key that issue_token signs with: the path of a PEM file, or its text; None for none.
    "SERVICE_SIGNING_KEY": None,
    # The claims aud and iss of the service's tokens.
    "SERVICE_AUDIENCE": "xblock-user-state",
    "SERVICE_ISSUER": "xblock-user-state",
    # Requests of one token in a second, minute, hour or day, such as "600/m"; None for any number.
    "SERVICE_THROTTLE": None,
    # While this file exists the service says that it is not ready: its path; None for none.
    "SERVICE_DRAIN_FILE": None,
}

# Flags of Open edX, used where XBLOCK_USER_STATE has no such setting.
_FEATURES = {
    "EXTENDED_HISTORY": "ENABLE_CSMH_EXTENDED",
    "READ_MULTIPLE_HISTORIES": "ENABLE_READING_FROM_MULTIPLE_HISTORY_TABLES",
}


def configured() -> Any:
    """Return the host's ``XBLOCK_USER_STATE`` without defaults. A system check reports it if it is not a dict."""
    return getattr(settings, "XBLOCK_USER_STATE", {})


def value(name: str) -> Any:
    """Return a setting: from ``XBLOCK_USER_STATE``, else the plugin's, else from ``FEATURES``, else the default."""
    inherited = _features()[_FEATURES[name]] if _is_inherited(name) else _of_plugin().get(name, DEFAULTS[name])
    return configured().get(name, inherited)


def origin(name: str) -> str:
    """Return the place of a setting in the host's settings module, for messages."""
    inherited = name not in configured() and _is_inherited(name)
    return f'FEATURES["{_FEATURES[name]}"]' if inherited else f'XBLOCK_USER_STATE["{name}"]'


def metrics() -> object:
    """Return the setting ``METRICS``. Cheaper than `value`, because every call of the client reads it."""
    return configured().get("METRICS")


def _is_inherited(name: str) -> bool:
    return name in _FEATURES and _FEATURES[name] in _features() and name not in _of_plugin()


def _of_plugin() -> Mapping[str, Any]:
    """Return the defaults of Open edX's plugin; none on other hosts."""
    # A setting of their own: a site's XBLOCK_USER_STATE, which may be assigned after the plugin has run, keeps them.
    return _optional("XBLOCK_USER_STATE_PLUGIN_DEFAULTS")


def _features() -> Mapping[str, Any]:
    # Hosts other than Open edX have no FEATURES.
    return _optional("FEATURES")


# Django takes ten times as long to miss a setting as to find one, and each write would miss these two several times.
@lru_cache
def _optional(name: str) -> Mapping[str, Any]:
    """Return a dict of the host's settings; an empty one if it has none."""
    found: Mapping[str, Any] | None = getattr(settings, name, None)
    return {} if found is None else found


@receiver(setting_changed)
def _forget_optional(**_: Any) -> None:
    _optional.cache_clear()


def recorded_block_types() -> Collection[str]:
    """Return the block types whose history is recorded; ``"*"`` stands for all."""
    found: Collection[str] = value("RECORDED_BLOCK_TYPES")
    return found


def is_recorded(block_type: str) -> bool:
    """Tell whether the history of blocks of this type is recorded."""
    return is_among(block_type, recorded_block_types())


def writes_deltas() -> bool:
    """Tell whether new history entries are stored as deltas."""
    return bool(value("HISTORY_ENCODING") == "delta")


def history_partitions() -> str | None:
    """Return the kind of partitions of the history's tables; ``None`` for plain tables."""
    found: str | None = value("HISTORY_PARTITIONS")
    return found


def is_partitioned_by_time() -> bool:
    """Tell whether the time is in the primary keys of the history, so that no key forbids two entries of a revision."""
    return history_partitions() == "time"


def writes_extended_history() -> bool:
    """Tell whether new history entries go to the extended history.

    Raises ``ImproperlyConfigured`` if the flag is on without an extended history: nobody could read the entries.
    """
    if not value("EXTENDED_HISTORY"):
        return False
    if not has_extended_history():
        raise ImproperlyConfigured(
            f"{origin('EXTENDED_HISTORY')} is on, and there is no extended history: add {EXTENDED_HISTORY_APP!r} to "
            f"INSTALLED_APPS and the database {history_database()!r} to DATABASES, or turn it off"
        )
    return True


def reads_both_histories() -> bool:
    """Tell whether readers see both histories, or only the one that new entries go to."""
    return bool(value("READ_MULTIPLE_HISTORIES"))


def no_extended_history() -> str:
    """Return the message for operators who need an extended history and have none."""
    return (
        f"there is no extended history: add {EXTENDED_HISTORY_APP!r} to INSTALLED_APPS and the database "
        f"{history_database()!r} to DATABASES"
    )


def has_extended_history() -> bool:
    """Tell whether an extended history is configured: its app and its database."""
    return apps.is_installed(EXTENDED_HISTORY_APP) and history_database() in settings.DATABASES


def history_database() -> str:
    """Return the alias of the extended history's database."""
    return str(value("HISTORY_DATABASE"))


def replica() -> str | None:
    """Return the alias of the replica of the state's database, if there is one."""
    found: str | None = value("REPLICA")
    return found


def history_timeout() -> float:
    """Return the seconds that a learner's request waits for an answer of the history database."""
    return float(value("HISTORY_TIMEOUT"))


def history_archive() -> str | None:
    """Return the folder or URL of the archive of early history, or ``None``."""
    found: str | None = value("HISTORY_ARCHIVE")
    return found


def ships_at_once() -> bool:
    """Tell whether a process ships entries right after their commit, or leaves them to the relay."""
    return bool(value("SHIP_HISTORY") == "at_once")

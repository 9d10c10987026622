"""The settings, read at run time from ``settings.XBLOCK_USER_STATE``, so that a change needs no restart of tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from xblock_user_state.state.keys import is_among

EXTENDED_HISTORY_APP = "xblock_user_state.extended_history"

DEFAULTS: Mapping[str, Any] = {
    # The block types whose every change is kept in the history; "*" for all.
    "RECORDED_BLOCK_TYPES": ["problem"],
    # How new history entries are stored: "delta" (what has changed, compressed) or "plain" (the JSON text).
    "HISTORY_ENCODING": "delta",
    # Whether new entries go to the extended history, in a database of its own.
    "EXTENDED_HISTORY": False,
    # Whether reads show the default history and the extended one, or only the one that is written to.
    "READ_MULTIPLE_HISTORIES": True,
    # The alias of the extended history's database.
    "HISTORY_DATABASE": "student_module_history",
    # When entries go there: "at_once" after the commit, or "by_relay" (manage.py relay_history).
    "SHIP_HISTORY": "at_once",
    # How many seconds a learner's request waits for that database.
    "HISTORY_TIMEOUT": 5,
    # Where metrics go: the dotted path of a sink, or a dict of "SINK" and "OPTIONS". Without it nowhere.
    "METRICS": None,
}

# The names in the settings of the system that we replace, honoured where ours are silent.
_FEATURES = {
    "EXTENDED_HISTORY": "ENABLE_CSMH_EXTENDED",
    "READ_MULTIPLE_HISTORIES": "ENABLE_READING_FROM_MULTIPLE_HISTORY_TABLES",
}


def configured() -> Any:
    """Return the host's settings as they are, without defaults: a dict, as the system checks see to."""
    return getattr(settings, "XBLOCK_USER_STATE", {})


def value(name: str) -> Any:
    """Return a setting: the host's, one of its ``FEATURES``, or the default."""
    inherited = _features()[_FEATURES[name]] if _is_inherited(name) else DEFAULTS[name]
    return configured().get(name, inherited)


def origin(name: str) -> str:
    """Return where a host would change the setting, as it is written in a settings module."""
    inherited = name not in configured() and _is_inherited(name)
    return f'FEATURES["{_FEATURES[name]}"]' if inherited else f'XBLOCK_USER_STATE["{name}"]'


def metrics() -> object:
    """Return the setting of metrics, by the shortest way: every call of the client asks, also where there are none."""
    return configured().get("METRICS")


def _is_inherited(name: str) -> bool:
    return name in _FEATURES and _FEATURES[name] in _features()


def _features() -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(settings, "FEATURES", None) or {}
    return found


def recorded_block_types() -> Collection[str]:
    """Return the block types whose history is recorded; ``"*"`` is all of them."""
    found: Collection[str] = value("RECORDED_BLOCK_TYPES")
    return found


def is_recorded(block_type: str) -> bool:
    """Tell whether the history of blocks of this type is recorded."""
    return is_among(block_type, recorded_block_types())


def is_compact() -> bool:
    """Tell whether new history entries are stored as deltas."""
    return bool(value("HISTORY_ENCODING") == "delta")


def writes_extended_history() -> bool:
    """Tell whether new history entries go to the extended history.

    Raises ``ImproperlyConfigured`` if they should and there is none: nobody could read them.
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
    """Tell whether reads show the default and the extended history, or only the one that is written to."""
    return bool(value("READ_MULTIPLE_HISTORIES"))


def no_extended_history() -> str:
    """Return what to tell an operator who needs an extended history where none is configured."""
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


def history_timeout() -> float:
    """Return how many seconds a learner's request waits for the history database to answer."""
    return float(value("HISTORY_TIMEOUT"))


def ships_at_once() -> bool:
    """Tell whether entries are shipped right after the commit, or left to the relay."""
    return bool(value("SHIP_HISTORY") == "at_once")

"""Settings are read at run time: the host's dict, then the names of the system that we replace, then the default."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from xblock_user_state import conf

INHERITED = [
    ("EXTENDED_HISTORY", "ENABLE_CSMH_EXTENDED"),
    ("READ_MULTIPLE_HISTORIES", "ENABLE_READING_FROM_MULTIPLE_HISTORY_TABLES"),
]


@pytest.fixture(autouse=True)
def silent(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {}
    settings.FEATURES = {}


def test_without_settings_there_are_defaults(settings: Settings) -> None:
    del settings.XBLOCK_USER_STATE
    del settings.FEATURES
    assert {name: conf.value(name) for name in conf.DEFAULTS} == conf.DEFAULTS


def test_a_change_is_seen_at_once(settings: Settings) -> None:
    assert conf.writes_deltas()
    settings.XBLOCK_USER_STATE["HISTORY_ENCODING"] = "plain"
    assert not conf.writes_deltas()
    assert conf.ships_at_once()
    settings.XBLOCK_USER_STATE = {"SHIP_HISTORY": "by_relay"}
    assert not conf.ships_at_once()


@pytest.mark.parametrize(("ours", "theirs"), INHERITED)
@pytest.mark.parametrize("value", [True, False])
def test_the_old_names_count_where_the_dict_is_silent(settings: Settings, ours: str, theirs: str, value: bool) -> None:
    settings.FEATURES[theirs] = value
    assert conf.value(ours) is value
    assert conf.origin(ours) == f'FEATURES["{theirs}"]'
    settings.XBLOCK_USER_STATE[ours] = not value
    assert conf.value(ours) is not value
    assert conf.origin(ours) == f'XBLOCK_USER_STATE["{ours}"]'


@pytest.mark.parametrize("features", [None, {}, {"ENABLE_SOMETHING_ELSE": True}])
def test_features_need_not_name_them(settings: Settings, features: dict[str, bool] | None) -> None:
    settings.FEATURES = features
    for name, _ in INHERITED:
        assert conf.value(name) is conf.DEFAULTS[name]
        assert conf.origin(name) == f'XBLOCK_USER_STATE["{name}"]'


@pytest.mark.parametrize("by", ["XBLOCK_USER_STATE", "FEATURES"])
def test_writing_to_an_extended_history_that_is_not_there_is_refused(settings: Settings, by: str) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != conf.EXTENDED_HISTORY_APP]
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True} if by == "XBLOCK_USER_STATE" else {}
    settings.FEATURES = {"ENABLE_CSMH_EXTENDED": True}
    with pytest.raises(ImproperlyConfigured, match=rf"{by}\[.*INSTALLED_APPS.*DATABASES"):
        conf.writes_extended_history()

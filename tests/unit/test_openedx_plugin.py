"""The plugin's settings, checks and documentation, without a platform."""

from __future__ import annotations

import tomllib
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import AppConfig, apps
from django.core.checks import run_checks
from django.utils.module_loading import import_string
from opaque_keys.edx.keys import CourseKey
from pytest_django import Settings

from tests.documentation import DOCS, ROOT
from xblock_user_state import conf
from xblock_user_state.openedx.apps import OpenedxConfig
from xblock_user_state.openedx.platform import replacements, stages
from xblock_user_state.openedx.platform.settings import MIDDLEWARE, plugin_settings
from xblock_user_state.openedx.platform.stages import Stage

STARS, MOONS = (CourseKey.from_string(f"course-v1:Sky+{name}+2026") for name in ("Stars", "Moons"))
SWITCH = f"{__name__}.only_stars"


def only_stars(course_key: CourseKey) -> bool:
    return course_key == STARS


def messages() -> dict[str, Any]:
    return {str(message.id).rpartition(".")[2]: message for message in run_checks(tags=["xblock_user_state"])}


def test_the_distribution_has_the_entry_points_of_a_plugin() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    for kind in ("lms.djangoapp", "cms.djangoapp"):
        [path] = points[kind].values()
        assert import_string(path.replace(":", ".")) is OpenedxConfig
        for place in OpenedxConfig.plugin_app["settings_config"][kind].values():
            assert callable(import_string(f"{OpenedxConfig.name}.{place['relative_path']}.plugin_settings"))


def test_the_plugin_adds_what_is_missing_to_the_settings() -> None:
    settings = SimpleNamespace(INSTALLED_APPS=["a"], MIDDLEWARE=["b"])
    plugin_settings(settings)
    # The platform calls it for each of its settings modules, which import one another.
    plugin_settings(settings)
    assert settings.INSTALLED_APPS == ["a", "xblock_user_state"]
    assert settings.MIDDLEWARE == ["b", MIDDLEWARE]
    assert callable(import_string(MIDDLEWARE))


def test_settings_that_are_assigned_after_the_plugin_keep_its_defaults(settings: Settings) -> None:
    plugin_settings(settings)
    settings.FEATURES = {"ENABLE_CSMH_EXTENDED": True}
    settings.XBLOCK_USER_STATE = {"OPENEDX_STAGE": "shadow"}
    assert not conf.value("EXTENDED_HISTORY")
    assert conf.origin("EXTENDED_HISTORY") == 'XBLOCK_USER_STATE["EXTENDED_HISTORY"]'
    assert conf.history_database() == "xblock_user_state_history"
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "HISTORY_DATABASE": "ours"}
    assert conf.value("EXTENDED_HISTORY")
    assert conf.history_database() == "ours"


def test_the_stage_is_read_at_each_call_and_a_switch_may_leave_a_course_out(settings: Settings) -> None:
    assert stages.stage_of(STARS) is Stage.OFF
    for stage in Stage:
        settings.XBLOCK_USER_STATE = {"OPENEDX_STAGE": stage.value, "OPENEDX_COURSES": SWITCH}
        assert stages.stage_of(STARS) is stage
        # The platform's tables are old by then.
        assert stages.stage_of(MOONS) is (Stage.ALONE if stage is Stage.ALONE else Stage.OFF)


def test_queries_of_the_models_are_served_here_unless_a_switch_leaves_courses_out(settings: Settings) -> None:
    for stage in Stage:
        settings.XBLOCK_USER_STATE = {"OPENEDX_STAGE": stage.value}
        assert stages.models_are_served_here() == (stage in (Stage.LEAD, Stage.ALONE))
    settings.XBLOCK_USER_STATE = {"OPENEDX_STAGE": "lead", "OPENEDX_COURSES": SWITCH}
    assert not stages.models_are_served_here()


@pytest.mark.parametrize(
    "wrong",
    [
        {"OPENEDX_STAGE": "half"},
        {"OPENEDX_STAGE": "lead", "OPENEDX_COURSES": 7},
        {"OPENEDX_STAGE": "alone", "OPENEDX_COURSES": SWITCH},
    ],
)
def test_wrong_stages_and_switches_are_reported(settings: Settings, wrong: dict[str, object]) -> None:
    settings.XBLOCK_USER_STATE = wrong
    assert messages().keys() == {"E004"}


def test_the_default_alias_of_the_extended_history_is_refused_beside_the_platforms(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias = conf.DEFAULTS["HISTORY_DATABASE"]
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": "history.sqlite3"}
    monkeypatch.setattr("xblock_user_state.checks._are_one", lambda first, second: first == second)
    monkeypatch.setitem(settings.DATABASES, alias, database)
    monkeypatch.setattr("xblock_user_state.checks.apps.is_installed", lambda _: True)
    monkeypatch.setitem(apps.app_configs, "coursewarehistoryextended", AppConfig.create("django.contrib.auth"))
    from xblock_user_state.checks import check_extended_history  # noqa: PLC0415

    [message] = check_extended_history()
    assert message.id == "xblock_user_state.E008"
    assert "another alias" in str(message.hint)


def test_every_replaced_name_is_documented() -> None:
    page = (DOCS / "reference/openedx-platform.md").read_text()
    for replacement in replacements.REPLACEMENTS:
        assert f"| `{replacement.module}.{replacement.name}` | {replacement.why} |" in page

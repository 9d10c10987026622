"""The router of the extended history decides by app label, whatever the other arguments are."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import router
from pytest_django import Settings

from xblock_user_state.conf import EXTENDED_HISTORY_APP
from xblock_user_state.extended_history.router import StudentModuleHistoryExtendedRouter
from xblock_user_state.models import HistoryOutbox, StudentModule, StudentModuleHistory

LABEL = "xblock_user_state_extended_history"
ALIAS = "student_module_history"
OTHERS = [User, StudentModule, StudentModuleHistory, HistoryOutbox]
HINTS: list[dict[str, Any]] = [{}, {"model_name": "studentmodulehistoryextended"}, {"model_name": "user"}, {"to": 1}]


@pytest.fixture(autouse=True)
def settings_of_the_host(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {}
    if EXTENDED_HISTORY_APP not in settings.INSTALLED_APPS:
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, EXTENDED_HISTORY_APP]
    settings.DATABASE_ROUTERS = ["xblock_user_state.extended_history.router.StudentModuleHistoryExtendedRouter"]


def extended() -> Any:
    # Django can import its module only while the app is installed.
    from xblock_user_state.extended_history.models import StudentModuleHistoryExtended  # noqa: PLC0415

    return StudentModuleHistoryExtended


def test_the_history_has_its_database() -> None:
    assert router.db_for_read(extended()) == router.db_for_write(extended()) == ALIAS


@pytest.mark.parametrize("model", OTHERS)
def test_others_are_left_alone(model: Any) -> None:
    assert router.db_for_read(model) == router.db_for_write(model) == "default"
    ours = StudentModuleHistoryExtendedRouter()
    assert ours.db_for_read(model) is None
    assert ours.allow_migrate("default", model._meta.app_label) is None


@pytest.mark.parametrize("hints", HINTS, ids=str)
def test_migrations_run_by_app_label_alone(hints: dict[str, Any]) -> None:
    assert router.allow_migrate(ALIAS, LABEL, **hints)
    assert not router.allow_migrate("default", LABEL, **hints)
    assert not router.allow_migrate("replica", LABEL, **hints)
    for label in ("auth", "contenttypes", "xblock_user_state", "somebody_elses"):
        assert not router.allow_migrate(ALIAS, label, **hints)
        assert router.allow_migrate("default", label, **hints)
        assert router.allow_migrate("replica", label, **hints)


def test_no_relation_crosses() -> None:
    ours = StudentModuleHistoryExtendedRouter()
    entry, module = extended()(), StudentModule()
    assert ours.allow_relation(entry, module) is ours.allow_relation(module, entry) is False
    assert ours.allow_relation(entry, extended()()) is True
    assert ours.allow_relation(module, User()) is None


def test_the_alias_is_a_setting_that_is_read_at_run_time(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"HISTORY_DATABASE": "archive"}
    assert router.db_for_read(extended()) == router.db_for_write(extended()) == "archive"
    assert router.allow_migrate("archive", LABEL)
    assert not router.allow_migrate(ALIAS, LABEL)
    assert not router.allow_migrate("archive", "auth")
    assert router.allow_migrate(ALIAS, "auth")

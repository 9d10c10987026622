"""System check of the app for Open edX."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core import checks
from django.db import router

from xblock_user_state.checks import TAG
from xblock_user_state.openedx.numbers.models import BlockNumber
from xblock_user_state.store.databases import state_database


def register() -> None:
    """Register the check with Django, under the tag of the package."""
    checks.register(check_database, TAG)


def check_database(**_: Any) -> list[checks.CheckMessage]:
    """Check that the app's tables are in the database of learner state: views join both, and blocks get numbers."""
    database, label = state_database(), BlockNumber._meta.app_label
    tables = (model for model in apps.get_app_config(label).get_models() if model._meta.managed)
    if all(router.allow_migrate_model(database, model) for model in tables):
        return []
    return [
        checks.Error(
            f"Learner state is in {database!r}, and the database routers keep tables of {label} out of it: state in "
            "new blocks can't be written.",
            hint=f"Let the routers send the app label {label!r} to {database!r}, too.",
            id="xblock_user_state.E012",
        )
    ]

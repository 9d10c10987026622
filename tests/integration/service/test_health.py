"""Liveness and readiness of the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.test import RequestFactory
from pytest_django import Settings

from tests.integration.outage import NOWHERE
from xblock_user_state.service import health

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unknown_migrations() -> None:
    """Begin as a new process does."""
    health._need_migrations.cache_clear()


def status_of(view: Callable[[HttpRequest], JsonResponse]) -> tuple[int, str]:
    answer = view(RequestFactory().get("/"))
    assert "no-store" in answer.headers["Cache-Control"]
    return answer.status_code, json.loads(answer.content)["status"]


def test_a_process_with_its_database_is_ready() -> None:
    assert status_of(health.live) == (200, "live")
    assert status_of(health.ready) == (200, "ready")
    assert status_of(health.ready) == (200, "ready")


def test_a_process_before_the_migrations_is_not() -> None:
    recorder = MigrationRecorder(connection)
    newest = max(name for app, name in recorder.applied_migrations() if app == "xblock_user_state")
    recorder.record_unapplied("xblock_user_state", newest)
    assert status_of(health.ready) == (503, "migrations are missing")
    recorder.record_applied("xblock_user_state", newest)
    assert status_of(health.ready) == (200, "ready")


@pytest.mark.django_db(transaction=True)
def test_a_process_without_its_database_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    with monkeypatch.context() as patch:
        for name, value in NOWHERE[connection.vendor].items():
            patch.setitem(connection.settings_dict, name, value)
        assert status_of(health.ready) == (503, "the database does not answer")
        assert status_of(health.live) == (200, "live")
        connection.close()
    assert status_of(health.ready) == (200, "ready")


def test_a_process_that_is_to_stop_is_not(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "draining"
    settings.XBLOCK_USER_STATE = {"SERVICE_DRAIN_FILE": str(file)}
    assert status_of(health.ready) == (200, "ready")
    file.touch()
    assert status_of(health.ready) == (503, "shutting down")
    assert status_of(health.live) == (200, "live")

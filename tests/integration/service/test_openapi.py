"""The description of the service is that of the code, and the service keeps to it, whatever a caller sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.documentation import DOCS
from xblock_user_state.permissions import site_policy
from xblock_user_state.service import exchange
from xblock_user_state.service.api import api
from xblock_user_state.service.callers import Caller

PAGE = DOCS / "reference/openapi.json"
DESCRIBED = json.loads(PAGE.read_text())
OPERATIONS = [(path, method) for path, methods in DESCRIBED["paths"].items() for method in methods]


def has_not_failed(_: Any, response: Any, case: Any) -> None:
    # A deadline that has passed is a 504.
    assert response.status_code != 500, case.as_curl_command()


CHECKS = [has_not_failed, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def _connections_kept() -> Iterator[None]:
    """Keep the connection with the test's transaction, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_the_description_in_the_documentation_is_the_codes() -> None:
    # Write it anew: python -m scripts.openapi
    assert json.dumps(api.get_openapi_schema(path_prefix=""), indent=2) + "\n" == PAGE.read_text()


@pytest.mark.django_db
@pytest.mark.usefixtures("_connections_kept")
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_service_keeps_to_its_description(path: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    user = User.objects.create(username="host", is_superuser=True)
    monkeypatch.setattr(exchange, "caller_of", lambda request: Caller(user, site_policy()))
    monkeypatch.setattr(django_settings, "ALLOWED_HOSTS", ["*"])
    described = schemathesis.openapi.from_wsgi("/state/v1/openapi.json", get_wsgi_application())
    operation: Any = described[f"/state{path}"][method]

    @settings(max_examples=8, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def keeps(case: Any) -> None:
        case.validate_response(case.call(), checks=CHECKS)

    keeps()

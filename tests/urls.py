"""URLs of the test suite: the console and the service, mounted as hosts do."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("console/", include("xblock_user_state.console.urls")),
    path("state/", include("xblock_user_state.service.urls")),
]

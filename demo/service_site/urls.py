"""The service, mounted as any host mounts it."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("user-state/", include("xblock_user_state.service.urls"))]

"""Liveness and readiness, for load balancers and supervisors. Both ask for no credentials and name nobody."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import Error
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from xblock_user_state import conf
from xblock_user_state.store.databases import state_database

_LABEL = "xblock_user_state"


@require_safe
@never_cache
def live(request: HttpRequest) -> JsonResponse:
    """Answer 200: this process serves requests. A supervisor restarts one that does not answer."""
    return JsonResponse({"status": "live"})


@require_safe
@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """Answer 200 if this process can serve calls, else 503 with the reason. One statement, after the first 200.

    Other systems are not asked: calls go on without the history database, the cache and the metrics.
    """
    problem = _problem()
    return JsonResponse({"status": "ready"} if problem is None else {"status": problem}, status=503 if problem else 200)


def _problem() -> str | None:
    drain_file = conf.value("SERVICE_DRAIN_FILE")
    if drain_file is not None and Path(drain_file).exists():
        return "shutting down"
    database = state_database()
    try:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
        return None if _is_migrated(database) else "migrations are missing"
    except Error:
        return "the database does not answer"


def _is_migrated(database: str) -> bool:
    """Tell whether the database has our migrations. It is not asked again: migrations are not taken back."""
    try:
        return _need_migrations(database)
    except LookupError:
        return False


@lru_cache(4)
def _need_migrations(database: str) -> bool:
    """Return true, which is cached. Raises ``LookupError`` if a migration is missing, which is not."""
    executor = MigrationExecutor(connections[database])
    newest = [node for node in executor.loader.graph.leaf_nodes() if node[0] == _LABEL]
    if executor.migration_plan(newest):
        raise LookupError(database)
    return True

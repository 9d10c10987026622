"""Additions to the demo for a crowd: its accounts, and requests that do without the guard.

Settings name both as middleware, because Django loads it when the whole demo is importable and the tables exist.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest, HttpResponse

from tests.acceptance.crowd import MEMBERS, UNGUARDED
from tests.acceptance.demo_server import PASSWORD
from xblock_user_state.runtime import UserStateKeyValueStore

View = Callable[[HttpRequest], HttpResponse]


def enrol(view: View) -> View:
    """Create the accounts of the crowd."""
    users, password = get_user_model(), make_password(PASSWORD)
    made = [users(username=username, password=password) for username in MEMBERS]
    # A second server shares the database.
    users.objects.bulk_create(made, ignore_conflicts=True)
    return view


def guard_unless_told(view: View) -> View:
    """Let requests with the header do without the guard, as hosts did before there was one."""
    has_guard = ContextVar("has_guard", default=True)
    begin = UserStateKeyValueStore.unit_of_work

    def unit_of_work(store: UserStateKeyValueStore, *, guarded: bool = False) -> AbstractContextManager[None]:
        return begin(store, guarded=guarded and has_guard.get())

    def answer(request: HttpRequest) -> HttpResponse:
        token = has_guard.set(UNGUARDED not in request.headers)
        try:
            return view(request)
        finally:
            has_guard.reset(token)

    patch.object(UserStateKeyValueStore, "unit_of_work", unit_of_work).start()
    return answer

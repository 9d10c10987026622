"""A guarded handler that runs twice: its rows in other tables, and the files of its request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.http import HttpRequest
from django.test import RequestFactory
from xblock.django.request import django_to_webob_request

from tests.blocks import PageRuntime, make_page
from tests.factories import make_learners
from tests.integration.interference import on_another_connection
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore, run_guarded

pytestmark = pytest.mark.django_db(transaction=True)

IDS, [QUIZ] = make_page("quiz")
IMMEDIATE = "an IMMEDIATE transaction of SQLite keeps all other writers out, so its first attempt has no conflict"


def submit(user: User, answer: str, meanwhile: Callable[[], object] | None = None) -> None:
    """Submit an answer in a guarded unit; `meanwhile` runs before its end."""
    store = UserStateKeyValueStore(DjangoXBlockUserStateClient(user), user)
    with store.unit_of_work(guarded=True):
        PageRuntime(store, user, IDS).submit(QUIZ, answer)
        if meanwhile:
            on_another_connection(meanwhile)


@pytest.mark.parametrize(
    ("around", "kept"),
    [
        pytest.param(nullcontext, ["row of attempt 1"], id="alone"),
        pytest.param(
            transaction.atomic,
            [],
            id="in a transaction",
            marks=pytest.mark.skipif(connection.vendor == "sqlite", reason=IMMEDIATE),
        ),
    ],
)
def test_rows_in_other_tables_of_attempts_that_fail(
    around: Callable[[], AbstractContextManager[object]], kept: list[str]
) -> None:
    [ada] = make_learners("ada")
    submit(ada, "red")
    attempts: list[int] = []

    def work() -> None:
        attempts.append(len(attempts) + 1)
        with around():
            # Stands for a table of a block.
            Group.objects.create(name=f"row of attempt {attempts[-1]}")
            submit(ada, "blue", None if len(attempts) > 1 else lambda: submit(ada, "green"))
            if len(attempts) > 1:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_guarded(work)
    assert attempts == [1, 2]
    assert [*Group.objects.values_list("name", flat=True)] == kept
    assert DjangoXBlockUserStateClient(ada).get("ada", QUIZ).state == {"attempts": 2, "answers": {"1": "green"}}


def uploaded(request: HttpRequest) -> str:
    """Return the text of the request's file, as a block reads it."""
    return str(django_to_webob_request(request).POST["answer"].file.read().decode())


def test_an_uploaded_file_is_read_again_after_seek() -> None:
    [ada] = make_learners("ada")
    request = RequestFactory().post("/", {"answer": SimpleUploadedFile("answer.txt", b"blue")})
    read_without_seek: list[str] = []

    def work() -> None:
        is_first = not read_without_seek
        read_without_seek.append(uploaded(request))
        for _, files in request.FILES.lists():
            for file in files:
                file.seek(0)
        submit(ada, uploaded(request), (lambda: submit(ada, "green")) if is_first else None)

    submit(ada, "red")
    run_guarded(work)
    assert read_without_seek == ["blue", ""]
    assert DjangoXBlockUserStateClient(ada).get("ada", QUIZ).state == {"attempts": 3, "answers": {"1": "blue"}}

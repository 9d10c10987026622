"""Learner state in a database apart from the platform's. `tests.integration.openedx.test_platform` runs this module."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.utils import timezone
from pytest_django import Settings

from tests.factories import make_learners
from tests.integration.outage import NOWHERE
from tests.openedx_platform.breaking import compare, platforms_rows, run
from tests.openedx_platform.courseware.models import StudentModule
from tests.openedx_platform.requests import COURSE, PACKAGES, make_block, read, save, usage_key
from xblock_user_state.history.outbox.breaker import RETRY_SECONDS
from xblock_user_state.models import StudentModule as OurModule
from xblock_user_state.openedx.platform import mirror, replacements
from xblock_user_state.openedx.platform.mirror import flushed_at_the_end
from xblock_user_state.store.databases import state_database

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()
KEY = usage_key(BLOCK)
Stage = Callable[[str], None]


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_database() == "learner_state"
    monkeypatch.setattr(replacements, "PACKAGES", PACKAGES)
    replacements.install()
    mirror.HERE.forget()


@pytest.fixture
def stage(settings: Settings) -> Stage:
    def enter(name: str) -> None:
        settings.XBLOCK_USER_STATE = {"OPENEDX_STAGE": name}

    return enter


@pytest.fixture
def ada() -> User:
    [user] = make_learners("ada")
    return user


@contextmanager
def rows_locked() -> Iterator[None]:
    """Lock all rows of this store in another thread."""
    is_locked, is_done = threading.Event(), threading.Event()

    def lock() -> None:
        try:
            with transaction.atomic(using="learner_state"):
                OurModule._base_manager.update(done="f")
                is_locked.set()
                is_done.wait(60)
                transaction.set_rollback(True, using="learner_state")
        finally:
            connections.close_all()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        assert is_locked.wait(60)
        yield
    finally:
        is_done.set()
        thread.join(60)


def test_a_write_that_the_platform_rolls_back_at_shadow_is_in_neither_store(stage: Stage, ada: User) -> None:
    stage("shadow")
    with transaction.atomic():
        save(ada, BLOCK, answer="red")
        transaction.set_rollback(True)
    assert platforms_rows() == []
    assert not OurModule.objects.exists()


def test_requests_at_shadow_do_not_wait_for_each_row_while_this_store_is_down(
    stage: Stage, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage("shadow")
    now, attempts = [0.0], []
    monkeypatch.setattr(mirror.HERE, "clock", lambda: now[0])
    connection = connections["learner_state"]
    connect = connection.connect

    def counted() -> None:
        attempts.append(now[0])
        connect()

    connection.close()
    with monkeypatch.context() as patch:
        patch.setattr(connection, "connect", counted)
        for name, value in NOWHERE[connection.vendor].items():
            patch.setitem(connection.settings_dict, name, value)
        for _ in range(2):
            with flushed_at_the_end():
                for number in range(5):
                    save(ada, make_block(f"b{number}"), answer="red")
        assert len(platforms_rows()) == 5
        assert len(attempts) == 1
        now[0] += RETRY_SECONDS
        save(ada, BLOCK, answer="red")
        assert len(attempts) == 2
    now[0] += RETRY_SECONDS
    for number in range(5):
        save(ada, make_block(f"b{number}"), answer="blue")
    save(ada, BLOCK, answer="blue")
    assert compare() == ""


def test_a_request_at_shadow_does_not_wait_long_for_a_slow_store(
    stage: Stage, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connections["learner_state"].vendor == "sqlite":
        pytest.skip("a locked file is tried again for 15 seconds")
    stage("shadow")
    now = [0.0]
    monkeypatch.setattr(mirror.HERE, "clock", lambda: now[0])
    save(ada, BLOCK, answer="red")
    with rows_locked(), monkeypatch.context() as patch:
        patch.setattr(mirror, "SECONDS", 0.5)
        started = time.monotonic()
        save(ada, BLOCK, answer="blue")
        assert time.monotonic() - started < 10
        assert mirror.HERE.is_open()
    assert read(ada, BLOCK, "answer") == "blue"
    assert "answer" in compare()
    now[0] += RETRY_SECONDS
    save(ada, BLOCK, other="x")
    assert compare() == ""


def test_a_request_that_the_platform_rolls_back_at_lead_is_in_both_stores(stage: Stage, ada: User) -> None:
    stage("lead")
    # The middleware is around the transaction of the request.
    with flushed_at_the_end(), transaction.atomic():
        save(ada, BLOCK, answer="red")
        transaction.set_rollback(True)
    assert read(ada, BLOCK, "answer") == "red"
    assert compare() == ""


def test_a_task_that_the_platform_rolls_back_at_lead_stays_in_this_store_and_is_copied_back(
    stage: Stage, ada: User
) -> None:
    stage("lead")
    before = timezone.now()
    with transaction.atomic():
        save(ada, BLOCK, answer="red")
        StudentModule.objects.create(student=ada, module_state_key=usage_key(make_block("two")), course_id=COURSE)
        transaction.set_rollback(True)
    assert OurModule.objects.count() == 2
    assert platforms_rows() == []
    assert "2 fields differ: row 2" in compare()

    run("openedx_stage", "--copy-back", before.isoformat())

    assert compare() == ""
    ids = [row.pk for row in StudentModule.objects.order_by("pk")]
    assert [row.pk for row in platforms_rows()] == ids


def test_the_next_write_of_a_row_copies_what_was_rolled_back(stage: Stage, ada: User) -> None:
    stage("lead")
    with transaction.atomic():
        module = StudentModule.objects.create(student=ada, module_state_key=KEY, course_id=COURSE, state='{"a": 1}')
        transaction.set_rollback(True)
    save(ada, BLOCK, answer="red")
    [row] = platforms_rows()
    assert json.loads(row.state) == {"a": 1, "answer": "red"}
    assert StudentModule.objects.get().pk == row.pk
    assert module.student_id == row.student_id
    assert compare() == ""

"""The adoption of a visitor's state by an account in the database."""

from __future__ import annotations

from threading import Thread

import pytest
from django.contrib.auth import login
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import cache, caches
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.http import HttpRequest
from pytest_django import Settings

from tests.factories import make_blocks, make_learners
from tests.integration.interference import just_before, on_another_connection, refusing
from tests.integration.rows import assert_history_is_gapless
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.ephemeral import EphemeralXBlockUserStateClient, adopt_visitor, visitor_id
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.models import StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db(transaction=True)
BLOCKS = make_blocks(3)


@pytest.fixture
def ann() -> User:
    return make_learners("ann")[0]


@pytest.fixture
def request_of_visitor(settings: Settings, ann: User) -> HttpRequest:
    """The request at which a visitor with answers logs in."""
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    cache.clear()
    request = HttpRequest()
    request.session = SessionStore()
    request.user = AnonymousUser()
    answer_as_visitor(request.session)
    return request


def visitors_client(session: SessionBase) -> EphemeralXBlockUserStateClient:
    return EphemeralXBlockUserStateClient(visitor_id(session), DjangoXBlockUserStateClient())


def answer_as_visitor(session: SessionBase) -> None:
    visitors_client(session).set_many("", {key: {"a": "the visitor's"} for key in BLOCKS})


def states() -> list[str]:
    return [found.state["a"] for found in DjangoXBlockUserStateClient().get_many("ann", BLOCKS) if found.state]


def test_who_logs_in_finds_their_answers(request_of_visitor: HttpRequest, ann: User) -> None:
    visitor = visitor_id(request_of_visitor.session)
    login(request_of_visitor, ann)
    adopt_visitor(request_of_visitor.session, DjangoXBlockUserStateClient(ann), "ann")
    assert states() == ["the visitor's"] * 3
    assert [entry.actor_id for entry in StudentModuleHistory.objects.all()] == [ann.id] * 3
    assert_history_is_gapless()
    assert visitor_id(request_of_visitor.session) != visitor


def test_a_session_without_a_visitor_has_nothing_to_adopt(ann: User) -> None:
    adopt_visitor(SessionStore(), DjangoXBlockUserStateClient(ann), "ann")
    assert not StudentModule.objects.exists()


def test_a_block_that_the_account_writes_meanwhile_is_the_accounts(request_of_visitor: HttpRequest, ann: User) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite lets one writer begin at a time: nothing comes in between")

    def interfere() -> None:
        on_another_connection(lambda: DjangoXBlockUserStateClient().set("ann", BLOCKS[1], {"a": "the account's"}))

    DjangoXBlockUserStateClient().set_many("ann", {key: {"a": "registers the block"} for key in BLOCKS})
    StudentModule.objects.all().delete()
    with just_before("INSERT", StudentModule, interfere):
        adopt_visitor(request_of_visitor.session, DjangoXBlockUserStateClient(ann), "ann")
    assert states() == ["the visitor's", "the account's", "the visitor's"]
    assert_history_is_gapless()


def test_an_adoption_that_the_database_refuses_can_be_repeated(request_of_visitor: HttpRequest, ann: User) -> None:
    with refusing("INSERT", StudentModule, "NEW.state LIKE '%visitor%'"), pytest.raises(Exception, match="refused"):
        adopt_visitor(request_of_visitor.session, DjangoXBlockUserStateClient(ann), "ann")
    assert states() == []
    adopt_visitor(request_of_visitor.session, DjangoXBlockUserStateClient(ann), "ann")
    assert states() == ["the visitor's"] * 3


class RolledBack(Exception):
    """Raised to roll a request's transaction back."""


def test_a_transaction_that_is_rolled_back_takes_nothing_from_the_visitor(
    request_of_visitor: HttpRequest, ann: User
) -> None:
    def adopt_in_a_transaction() -> None:
        with transaction.atomic():
            adopt_visitor(request_of_visitor.session, DjangoXBlockUserStateClient(ann), "ann")
            raise RolledBack

    with pytest.raises(RolledBack):
        adopt_in_a_transaction()
    assert len(list(visitors_client(request_of_visitor.session).get_many("", BLOCKS))) == 3
    with transaction.atomic():
        for _ in range(2):
            adopt_visitor(request_of_visitor.session, DjangoXBlockUserStateClient(ann), "ann")
    assert states() == ["the visitor's"] * 3


@pytest.fixture
def database_cache(settings: Settings, ann: User) -> str:
    """A cache that processes share, in a separate table."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "visitors": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "visitors_cache"},
    }
    return "visitors"


def test_a_cache_that_fails_is_reported(database_cache: str) -> None:
    client = EphemeralXBlockUserStateClient("visitor", DjangoXBlockUserStateClient(), cache=database_cache)
    with pytest.raises(ServiceUnavailable, match="visitors"):
        client.set("", BLOCKS[0], {"a": 1})
    with pytest.raises(ServiceUnavailable, match="visitors"):
        client.get("", BLOCKS[0])


def test_concurrent_requests_lose_nothing_in_a_shared_cache(database_cache: str) -> None:
    call_command("createcachetable", verbosity=0)

    def write(name: str) -> None:
        try:
            for number in range(10):
                client = EphemeralXBlockUserStateClient("visitor", DjangoXBlockUserStateClient(), cache=database_cache)
                client.set("", BLOCKS[0], {f"{name}{number}": 1})
        finally:
            connections.close_all()

    threads = [Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client = EphemeralXBlockUserStateClient("visitor", DjangoXBlockUserStateClient(), cache=database_cache)
    assert len(client.get("", BLOCKS[0]).state or {}) == 30
    caches[database_cache].clear()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE visitors_cache")

"""A host with one view behind a real server: a learner's tabs save fields of one block at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from urllib.request import urlopen

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from xblock.django.request import django_to_webob_request, webob_to_django_response

from tests.blocks import NotebookBlock, PageRuntime, make_page
from tests.factories import make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule
from xblock_user_state.runtime import UserStateKeyValueStore

pytestmark = pytest.mark.django_db(transaction=True)

IDS, [NOTEBOOK] = make_page("notebook")
ALL_HAVE_READ = Barrier(len(NotebookBlock.pages))


@csrf_exempt
def write(request: HttpRequest, page: str) -> HttpResponse:
    ada = get_user_model().objects.get(username="ada")
    runtime = PageRuntime(UserStateKeyValueStore(DjangoXBlockUserStateClient(ada), ada), ada, IDS)
    runtime.learner_state.prefetch([runtime.get_block(NOTEBOOK)])
    # Each request saves only after all others have read the block.
    ALL_HAVE_READ.wait(30)
    with runtime.learner_state.unit_of_work():
        answer = runtime.handle(runtime.get_block(NOTEBOOK), "write", django_to_webob_request(request), page)
    return webob_to_django_response(answer)


urlpatterns = [path("<str:page>", write)]


@pytest.fixture
def url(settings: Settings, request: pytest.FixtureRequest) -> str:
    settings.ROOT_URLCONF = __name__
    # The test server serves these addresses itself; by default that would be all addresses.
    settings.STATIC_URL, settings.MEDIA_URL = "/static/", "/media/"
    server: LiveServer = request.getfixturevalue("live_server")
    return server.url


def _post(address: str, text: str) -> int:
    with urlopen(address, text.encode()) as answer:  # noqa: S310 (our own address)
        status: int = answer.status
        return status


def test_tabs_that_save_at_once_lose_nothing(url: str) -> None:
    [ada] = make_learners("ada")
    addresses = [f"{url}/{page}" for page in NotebookBlock.pages]
    with ThreadPoolExecutor(len(addresses)) as tabs:
        for number in "0123":
            assert [*tabs.map(_post, addresses, [number] * len(addresses))] == [200] * len(addresses)
    state = DjangoXBlockUserStateClient(ada).get("ada", NOTEBOOK).state
    assert state == dict.fromkeys(NotebookBlock.pages, "0123")
    assert StudentModule.objects.get().revision == 4 * len(NotebookBlock.pages)

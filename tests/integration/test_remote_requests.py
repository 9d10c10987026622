"""The requests of a remote client: one a call, one for the rows of a page, and one for a unit of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
import pytest
from xblock.fields import Scope

from tests.blocks import ASIDE_TYPE, PageRuntime, make_page
from tests.factories import ADA, COURSE, make_block, make_blocks, make_learners
from tests.integration.remote_clients import remote_client
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.remote import RemoteXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore, run_guarded

pytestmark = pytest.mark.django_db

BLOCK, BLOCKS = make_block(), make_blocks(30)


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[RemoteXBlockUserStateClient]:
    make_learners(ADA.username)
    with remote_client("over the wire", request) as client:
        yield client


@pytest.fixture
def requests(client: RemoteXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests so far."""
    sent: list[str] = []
    network = client._transport.network
    assert network is not None
    handle = network.handle_request

    def counted(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.url.path.rpartition("/v1/")[2])
        return handle(request)

    monkeypatch.setattr(network, "handle_request", counted)
    return sent


def in_a_batch(client: RemoteXBlockUserStateClient) -> None:
    with client.batch("ann") as batch:
        for block in BLOCKS:
            batch.set(block, {"a": 2})
            batch.set_score(block, 1, 2)
        batch.set(BLOCK, {"a": 1}, Scope.user_state_summary)
        batch.set(None, {"a": 1}, Scope.user_info)


CALLS: dict[str, tuple[str, Callable[[RemoteXBlockUserStateClient], object]]] = {
    "get": ("rows", lambda client: client.get("ann", BLOCK)),
    "get_many": ("rows", lambda client: list(client.get_many("ann", BLOCKS))),
    "get_encoded": ("rows", lambda client: client.get_encoded("ann", BLOCKS)),
    "get_encoded_rows": (
        "rows",
        lambda client: client.get_encoded_rows("ann", [(Scope.user_state, BLOCK), (Scope.user_info, None)]),
    ),
    "get_scores": ("scores", lambda client: client.get_scores("ann", BLOCKS)),
    "get_history": ("history", lambda client: list(client.get_history("ann", BLOCK))),
    "get_latest": ("latest", lambda client: client.get_latest("ann", 5, COURSE)),
    "find_blocks": ("blocks", lambda client: client.find_blocks(BLOCK)),
    "iter_all_for_block": ("iterate/block", lambda client: list(client.iter_all_for_block(BLOCK))),
    "iter_all_for_course": ("iterate/course", lambda client: list(client.iter_all_for_course(COURSE))),
    "set_many": ("write", lambda client: client.set_many("ann", {block: {"a": 2} for block in BLOCKS})),
    "delete_many": ("write", lambda client: client.delete_many("ann", BLOCKS)),
    "replace": ("write", lambda client: client.replace("ann", BLOCK, {})),
    "set_score": ("write", lambda client: client.set_score("ann", BLOCK, 1, 2)),
    "batch": ("write", in_a_batch),
}


@pytest.mark.parametrize(("path", "call"), CALLS.values(), ids=CALLS.keys())
def test_each_call_is_one_request(
    client: RemoteXBlockUserStateClient,
    requests: list[str],
    path: str,
    call: Callable[[RemoteXBlockUserStateClient], object],
) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"a": 1})
    call(client)
    assert requests == [path]


def test_a_page_is_one_request_and_a_unit_of_work_another(
    client: RemoteXBlockUserStateClient, requests: list[str]
) -> None:
    ids, keys = make_page(*["quiz", "poll", "video", "text"] * 5)

    def work() -> list[str]:
        kvs = UserStateKeyValueStore(client, ADA)
        runtime = PageRuntime(kvs, ADA, ids)
        kvs.prefetch(map(runtime.get_block, keys))
        with kvs.unit_of_work(guarded=True):
            runtime.submit(keys[0], "red")
            runtime.submit(keys[1], "blue")
            runtime.submit(keys[0], "a note", ASIDE_TYPE)
            return [runtime.get_block(key).render("student_view").body_html() for key in keys]

    run_guarded(work)
    assert requests == ["rows", "write"]
    local = DjangoXBlockUserStateClient()
    assert local.get("ada", keys[0]).revision == 1
    assert local.get_scores("ada", keys)[keys[0]][:2] == (1, 2)
    assert local.get(None, keys[1], Scope.user_state_summary).state == {"votes": {"blue": 1}}

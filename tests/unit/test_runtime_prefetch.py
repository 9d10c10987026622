"""`prefetch`: one read per scope loads a whole page; later reads need no call."""

from __future__ import annotations

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV2

from tests.blocks import ASIDE_TYPE, TYPES, NotesAside, PageRuntime, make_page
from tests.counting import CountingClient
from tests.factories import ADA
from xblock_user_state.runtime import UserStateKeyValueStore

ALL_SCOPES = ["preferences", "user_info", "user_state", "user_state_summary"]


@pytest.mark.parametrize("is_first_view", [True, False])
def test_one_read_a_scope_serves_the_whole_page(client: CountingClient, *, is_first_view: bool) -> None:
    ids, keys = make_page(*["quiz", "poll", "video", "text"] * 5)
    if not is_first_view:
        runtime = PageRuntime(UserStateKeyValueStore(client, ADA), ADA, ids)
        for key in keys:
            runtime.get_block(key).render("student_view")
        runtime.submit(keys[0], "red")
        runtime.submit(keys[0], "a note", ASIDE_TYPE)
        client.reads.clear()
    kvs = UserStateKeyValueStore(client, ADA)
    runtime = PageRuntime(kvs, ADA, ids)
    kvs.prefetch(map(runtime.get_block, keys))
    assert sorted(client.reads) == ALL_SCOPES
    shown = [runtime.get_block(key).render("student_view").body_html() for key in keys]
    assert len(client.reads) == 4
    assert ("red" in shown[0]) is ("a note 0 1 blue" in shown[0]) is not is_first_view


def test_only_scopes_that_are_declared_are_read(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    ids, keys = make_page("poll", "poll")
    runtime = PageRuntime(kvs, ADA, ids)
    kvs.prefetch([runtime.get_block(key) for key in keys])
    assert sorted(client.reads) == ["user_state", "user_state_summary"]


def test_a_page_without_learners_fields_is_no_read(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    _, [text] = make_page("text")
    kvs.prefetch_keys([(text, TYPES["text"])])
    kvs.prefetch([])
    assert client.reads == []


def test_keys_and_classes_do_as_well_as_blocks(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    ids, keys = make_page("quiz", "poll", "video", "text")
    blocks = [(key, TYPES[key.block_type]) for key in keys]
    asides = [(AsideUsageKeyV2(key, ASIDE_TYPE), NotesAside) for key in keys]
    kvs.prefetch_keys([*blocks, *asides])
    assert sorted(client.reads) == ALL_SCOPES
    runtime = PageRuntime(kvs, ADA, ids)
    for key in keys:
        runtime.get_block(key).render("student_view")
    assert len(client.reads) == 4


def test_what_is_known_is_not_read_again(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    ids, keys = make_page("poll", "poll")
    runtime = PageRuntime(kvs, ADA, ids)
    first, second = map(runtime.get_block, keys)
    kvs.prefetch([first])
    kvs.prefetch([first])
    assert len(client.reads) == 2
    kvs.prefetch([first, second])
    assert len(client.reads) == 4


def test_what_was_written_before_stays(client: CountingClient, kvs: UserStateKeyValueStore) -> None:
    ids, [quiz] = make_page("quiz")
    client.set("ada", quiz, {"attempts": 4, "seed": 3})
    runtime = PageRuntime(kvs, ADA, ids)
    block = runtime.get_block(quiz)
    block.attempts = 5
    with kvs.unit_of_work():
        block.save()
        kvs.prefetch([block])
        again = runtime.get_block(quiz)
        assert (again.attempts, again.seed) == (5, 3)
    again = runtime.get_block(quiz)
    assert (again.attempts, again.seed) == (5, 3)

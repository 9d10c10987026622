"""The base class of a host's runtime."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from django.contrib.auth.models import User
from lxml import html
from opaque_keys.edx.asides import AsideUsageKeyV1, AsideUsageKeyV2
from opaque_keys.edx.keys import UsageKey
from web_fragments.fragment import Fragment
from webob import Request
from xblock.core import XBlock
from xblock.exceptions import InvalidScopeError, NoSuchUsage
from xblock.field_data import DictFieldData
from xblock.fields import ScopeIds
from xblock.plugin import PluginMissingError

from tests.blocks import ASIDE_TYPE, PageRuntime, QuizBlock, make_page
from tests.factories import make_block
from tests.policies import Asked
from xblock_user_state.interface import PermissionDenied
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import (
    BlockRuntime,
    OpenEdXBlockMixin,
    UsageKeyIds,
    UserStateKeyValueStore,
    UserStateRuntime,
    UserStateService,
)

ADA = User(id=7, username="ada")
IDS, [QUIZ, POLL, TEXT] = make_page("quiz", "poll", "text")
POST = Request.blank("/", method="POST", body=b"red")


class BareRuntime(UserStateRuntime):
    """The least that a host defines."""

    def handler_url(self, *_arguments: Any, **_options: Any) -> str:
        return "/"

    local_resource_url = resource_url = handler_url


@pytest.fixture
def client() -> InMemoryXBlockUserStateClient:
    return InMemoryXBlockUserStateClient()


def page_over(client: InMemoryXBlockUserStateClient) -> PageRuntime:
    return PageRuntime(UserStateKeyValueStore(client, ADA), ADA, IDS)


def bare(client: InMemoryXBlockUserStateClient, **options: Any) -> BareRuntime:
    fields = DictFieldData({"display_name": "Planets"})
    return BareRuntime(fields, UserStateKeyValueStore(client, ADA), **options)


def aside_of(key: UsageKey) -> UsageKey:
    return UsageKey.from_string(f"aside-usage-v2:{str(key).replace(':', '$:')}::{ASIDE_TYPE}")


def test_a_page_is_one_fragment_and_one_commit(client: InMemoryXBlockUserStateClient) -> None:
    fragment = page_over(client).render_page([QUIZ, POLL])
    assert [fragment.content.count(f"data-usage='{key}'") for key in (QUIZ, POLL)] == [1, 1]
    assert fragment.content.index(str(QUIZ)) < fragment.content.index(str(POLL))
    assert client.get("ada", QUIZ).state == {"seed": 7}


def test_a_page_that_fails_saves_nothing(client: InMemoryXBlockUserStateClient) -> None:
    runtime = page_over(client)
    with pytest.raises(NoSuchUsage):
        runtime.render_page([QUIZ, make_block("quiz", "absent")])
    assert list(client.get_many("ada", [QUIZ])) == []


def test_a_handler_runs_in_a_guarded_unit(client: InMemoryXBlockUserStateClient) -> None:
    assert page_over(client).run_handler(QUIZ, "submit", POST).status_int == 200
    assert client.get("ada", QUIZ).revision == 1
    assert client.get_scores("ada", [QUIZ])[QUIZ].grade == 1


def test_a_handler_of_an_aside_runs(client: InMemoryXBlockUserStateClient) -> None:
    assert page_over(client).run_handler(aside_of(QUIZ), "submit", POST).status_int == 200
    assert client.get("ada", aside_of(QUIZ)).state == {"note": "red"}


def test_an_aside_that_does_not_decorate_the_block_does_not_exist(client: InMemoryXBlockUserStateClient) -> None:
    with pytest.raises(NoSuchUsage):
        page_over(client).run_handler(aside_of(POLL), "submit", POST)
    assert list(client.get_many("ada", [aside_of(POLL)])) == []


def test_learners_change_no_authored_field(client: InMemoryXBlockUserStateClient) -> None:
    runtime = page_over(client)
    block = runtime.get_block(TEXT)
    block.text = "mine"
    with pytest.raises(InvalidScopeError):
        block.save()


def test_learners_read_their_own_state_by_default(client: InMemoryXBlockUserStateClient) -> None:
    client.set("ada", QUIZ, {"attempts": 1})
    service = bare(client).service(_Asking(bare(client), _scope_ids()), "user_state")
    assert service.get_state("ada", QUIZ) == {"attempts": 1}
    with pytest.raises(PermissionDenied):
        service.get_state("ben", QUIZ)


def test_a_host_may_replace_a_service(client: InMemoryXBlockUserStateClient) -> None:
    own = UserStateService(client, "ada", Asked())
    runtime = bare(client, services={"user_state": own})
    assert runtime.service(_Asking(runtime, _scope_ids()), "user_state") is own


class _Asking(XBlock):
    """Asks for the service ``user_state``."""

    def __init__(self, runtime: Any, scope_ids: ScopeIds) -> None:
        super().__init__(runtime, scope_ids=scope_ids)


XBlock.needs("user_state")(_Asking)


def _scope_ids() -> ScopeIds:
    return ScopeIds(ADA.id, "quiz", UsageKeyIds().get_definition_id(QUIZ), QUIZ)


def test_blocks_of_xblocks_contrib_are_found_by_their_short_name(client: InMemoryXBlockUserStateClient) -> None:
    for _ in range(2):
        loaded = bare(client).load_block_type("poll_question")
        assert loaded.__module__.startswith("xblocks_contrib.")
    assert bare(client).load_block_type("done").__module__.startswith("done.")


def test_the_name_of_a_missing_type_is_in_the_error(client: InMemoryXBlockUserStateClient) -> None:
    with pytest.raises(PluginMissingError, match=r"^oops$"):
        bare(client).load_block_type("oops")


def test_blocks_have_the_attributes_of_open_edx(client: InMemoryXBlockUserStateClient) -> None:
    runtime = bare(client, mixins=(OpenEdXBlockMixin,))
    block = runtime.construct_xblock_from_class(QuizBlock, _scope_ids())
    assert (block.location, block.course_id, block.category) == (QUIZ, QUIZ.course_key, "quiz")
    assert (block.display_name, block.graded, block.due) == ("Planets", True, None)
    assert runtime.get_policy(QUIZ) == {}


def test_blocks_that_were_xmodules_get_their_css_classes(client: InMemoryXBlockUserStateClient) -> None:
    runtime = bare(client)
    block = runtime.construct_xblock("problem", _scope_ids())
    assert {"xmodule_display", "xmodule_ProblemBlock"} <= set(runtime._css_classes_for(block, "student_view"))
    assert "xmodule_display" not in runtime._css_classes_for(page_over(client).get_block(QUIZ), "student_view")


def test_without_a_learner_events_are_dropped() -> None:
    class Loader(BlockRuntime):
        handler_url = local_resource_url = resource_url = BareRuntime.handler_url

    ids = UsageKeyIds()
    runtime = Loader(ids, ids, services={"field-data": DictFieldData({})})
    block = runtime.construct_xblock_from_class(QuizBlock, _scope_ids())
    # It publishes a grade.
    assert runtime.handle(block, "submit", POST).status_int == 200


class _Speaking(XBlock):
    """Gives the script of its page a text of the learner."""

    def student_view(self, _context: Any) -> Fragment:
        fragment = Fragment("<p>text</p>")
        fragment.initialize_js("Speaking", {"text": HOSTILE, "number": 1})
        return fragment


HOSTILE = "</script><img src=x onerror=alert(1)> & <!-- \u2028"


def test_arguments_of_scripts_can_not_end_their_element(client: InMemoryXBlockUserStateClient) -> None:
    block = bare(client).construct_xblock_from_class(_Speaking, _scope_ids())
    root = html.fromstring(block.render("student_view").content)
    assert root.find(".//img") is None
    script = root.find(".//*[@data-init='Speaking']/script[@class='xblock_json_init_args']")
    assert script is not None
    assert script.get("type") == "json/xblock-args"
    assert json.loads(script.text or "") == {"text": HOSTILE, "number": 1}


@pytest.mark.parametrize("kind", [AsideUsageKeyV1, AsideUsageKeyV2])
def test_the_key_of_an_aside_gives_no_block(client: InMemoryXBlockUserStateClient, kind: type[UsageKey]) -> None:
    with pytest.raises(NoSuchUsage):
        bare(client).get_block(kind(make_block("of-an-aside", "poll_question"), ASIDE_TYPE))


def test_an_aside_has_one_state_under_both_forms_of_its_key(client: InMemoryXBlockUserStateClient) -> None:
    for key in (AsideUsageKeyV1(QUIZ, ASIDE_TYPE), aside_of(QUIZ)):
        page_over(client).run_handler(key, "submit", POST)
    assert client.get("ada", aside_of(QUIZ)).state == {"note": "redred"}


class _Slow:
    """A class attribute that waits when a thread gathers the attributes of the class that a runtime makes of it."""

    def __init__(self) -> None:
        self.is_read = threading.Event()
        self.may_go_on = threading.Event()

    def __get__(self, _instance: object, owner: type) -> None:
        if hasattr(owner, "unmixed_class"):
            self.is_read.set()
            self.may_go_on.wait(10)


def test_threads_that_meet_a_class_for_the_first_time_find_its_fields(client: InMemoryXBlockUserStateClient) -> None:
    slow = _Slow()
    new_class = type("NewBlock", (QuizBlock,), {"slow": slow})

    def field_names() -> set[str]:
        return {*bare(client).construct_xblock_from_class(new_class, ScopeIds(7, "quiz", QUIZ, QUIZ)).fields}

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(field_names)
        slow.is_read.wait(10)
        second = threads.submit(field_names)
        # Without a lock the second has its answer by now, and it is wrong.
        wait([second], timeout=0.2)
        slow.may_go_on.set()
        assert first.result(10) == second.result(10) >= {"answers"}

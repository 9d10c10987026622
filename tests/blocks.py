"""Blocks and asides of several types, and a page runtime as hosts build it on the key-value store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opaque_keys.edx.keys import UsageKey
from web_fragments.fragment import Fragment
from webob import Request, Response
from xblock.core import XBlock, XBlockAside
from xblock.exceptions import JsonHandlerError
from xblock.fields import Dict, Integer, Scope, ScopeIds, String
from xblock.runtime import DictKeyValueStore, KvsFieldData
from xblock.utils.publish_event import PublishEventMixin

from demo.host.ids import CourseIds
from tests.factories import COURSE
from xblock_user_state.runtime import UserStateKeyValueStore, UserStateRuntime


class QuizBlock(XBlock):
    """Chooses a seed at its first view, as a problem does."""

    has_score = True
    seed = Integer(scope=Scope.user_state)
    attempts = Integer(default=0, scope=Scope.user_state)
    answers = Dict(scope=Scope.user_state)

    def student_view(self, _context: Any) -> Fragment:
        if self.seed is None:
            self.seed = 7
        return Fragment(f"{self.attempts} {self.answers}")

    @XBlock.handler
    def submit(self, request: Request, _suffix: str = "") -> Response:
        self.attempts += 1
        self.answers["1"] = request.body.decode()
        self.runtime.publish(self, "grade", {"value": 1, "max_value": 2})
        return Response()


class PollBlock(XBlock):
    """Counts the choices of all learners, as a poll does."""

    choice = String(scope=Scope.user_state)
    votes = Dict(scope=Scope.user_state_summary)

    def student_view(self, _context: Any) -> Fragment:
        return Fragment(f"{self.choice} {self.votes}")

    @XBlock.handler
    def submit(self, request: Request, _suffix: str = "") -> Response:
        choice = request.body.decode()
        if choice != self.choice:
            self.choice = choice
            self.votes[choice] = self.votes.get(choice, 0) + 1
        return Response()


class VideoBlock(XBlock):
    """Keeps the learner's preferences beside the position, as a video does."""

    position = Integer(default=0, scope=Scope.user_state)
    speed = Integer(default=1, scope=Scope.preferences)
    language = String(default="en", scope=Scope.user_info)

    def student_view(self, _context: Any) -> Fragment:
        return Fragment(f"{self.position} {self.speed} {self.language}")


class NotebookBlock(XBlock):
    """Has pages that are written separately."""

    pages = tuple(f"page{number}" for number in range(5))
    page0, page1, page2, page3, page4 = (String(default="", scope=Scope.user_state) for _ in pages)

    @XBlock.handler
    def write(self, request: Request, suffix: str = "") -> Response:
        setattr(self, suffix, getattr(self, suffix) + request.body.decode())
        return Response()

    @XBlock.json_handler
    def write_too_much(self, text: str, suffix: str = "") -> None:
        """Refuse the text, as XBlock lets blocks do, with a field changed already."""
        setattr(self, suffix, text)
        raise JsonHandlerError(400, "the page is full")


class GameBlock(PublishEventMixin, XBlock):
    """Publishes the events that its page sends, and grades in other handlers too."""

    has_score = True

    @XBlock.json_handler
    def win(self, data: Any, _suffix: str = "") -> Any:
        self.runtime.publish(self, "grade", data)
        return {}

    @XBlock.json_handler
    def publish_events(self, events: Any, _suffix: str = "") -> Any:
        for event in events:
            self.runtime.publish(self, "grade", event)
        return {}

    @XBlock.handler
    def fallback_handler(self, _name: str, request: Request, _suffix: str = "") -> Response:
        self.runtime.publish(self, "grade", request.json)
        return Response()


@XBlock.needs("rebind_user")
class ToolBlock(XBlock):
    """Takes results from another server, for a learner that the request names, as blocks for LTI do."""

    has_score = True
    result = Integer(default=0, scope=Scope.user_state)
    calls = Integer(default=0, scope=Scope.user_state)
    total = Integer(default=0, scope=Scope.user_state_summary)

    def receive(self, learner: Any, result: int) -> int:
        """Count the call for the learner of the request, keep the result for `learner`, and return the earlier one."""
        self.calls += 1
        self.runtime.service(self, "rebind_user").rebind_noauth_module_to_user(self, learner)
        earlier, self.result = self.result, result
        self.total += result
        self.runtime.publish(self, "grade", {"value": result, "max_value": 10, "user_id": learner.id})
        self.save()
        return earlier


class TextBlock(XBlock):
    """Has no learner state."""

    text = String(default="", scope=Scope.content)

    def student_view(self, _context: Any) -> Fragment:
        return Fragment(self.text)


class NotesAside(XBlockAside):
    """Margin notes beside quizzes and texts, with a field of each scope."""

    has_score = True
    note = String(default="", scope=Scope.user_state)
    readers = Integer(default=0, scope=Scope.user_state_summary)
    is_folded = Integer(default=0, scope=Scope.preferences)
    pen = String(default="blue", scope=Scope.user_info)

    @XBlockAside.aside_for("student_view")
    def beside(self, _block: XBlock, _context: Any) -> Fragment:
        return Fragment(f"{self.note} {self.readers} {self.is_folded} {self.pen}")

    @XBlock.handler
    def submit(self, request: Request, _suffix: str = "") -> Response:
        self.note += request.body.decode()
        self.is_folded += 1
        return Response()


TYPES: Mapping[str, type[XBlock]] = {
    "game": GameBlock,
    "notebook": NotebookBlock,
    "poll": PollBlock,
    "quiz": QuizBlock,
    "text": TextBlock,
    "tool": ToolBlock,
    "video": VideoBlock,
}
ASIDE_TYPE = "notes_aside"
HAVE_NOTES = ("quiz", "text")


class PageRuntime(UserStateRuntime):
    """Runtime of one request: one learner's blocks over a store of their state."""

    def __init__(self, learner_state: UserStateKeyValueStore, user: Any, ids: CourseIds) -> None:
        super().__init__(KvsFieldData(DictKeyValueStore()), learner_state, ids=ids)
        assert self.user_id == user.id

    def load_block_type(self, block_type: str) -> type[XBlock]:
        return TYPES[block_type]

    def load_aside_type(self, _aside_type: str) -> type[XBlockAside]:
        return NotesAside

    def create_aside(self, _block_type: str, keys: ScopeIds) -> XBlockAside:
        return NotesAside(runtime=self, scope_ids=keys)

    def applicable_aside_types(self, block: XBlock) -> list[str]:
        return [ASIDE_TYPE] if block.scope_ids.block_type in HAVE_NOTES else []

    def submit(self, key: UsageKey, answer: str, aside_type: str | None = None) -> None:
        """Let a block, or its aside, handle an answer."""
        block = self.get_block(key)
        asked = self.get_aside_of_type(block, aside_type) if aside_type else block
        self.handle(asked, "submit", Request.blank("/", method="POST", body=answer.encode()))

    def handler_url(self, *_arguments: Any, **_options: Any) -> str:
        raise NotImplementedError

    resource_url = local_resource_url = handler_url


def make_page(*block_types: str) -> tuple[CourseIds, list[UsageKey]]:
    """Return the ids of a page with a block of each of these types, and the blocks' keys in the same order."""
    ids = CourseIds(COURSE)
    return ids, [ids.usage(block_type, f"{block_type}{number}") for number, block_type in enumerate(block_types)]

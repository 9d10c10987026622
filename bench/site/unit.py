"""A unit of 30 blocks of four types, half of them with an aside, and the part of a runtime that every contender has.

The blocks keep what real blocks of these types keep, and show it. They render next to nothing, so that the time of a
page is the time of its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from opaque_keys.edx.keys import UsageKey
from web_fragments.fragment import Fragment
from webob import Request, Response
from xblock.core import XBlock, XBlockAside
from xblock.fields import Boolean, Dict, Float, Integer, Scope, ScopeIds, String
from xblock.runtime import Runtime

from bench.site import data


class ProblemBlock(XBlock):
    """Keeps the fields of a capa problem with two inputs. Its first view writes three of them, a submission all."""

    has_score = True
    seed = Integer(scope=Scope.user_state)
    attempts = Integer(default=0, scope=Scope.user_state)
    done = Boolean(default=False, scope=Scope.user_state)
    has_saved_answers = Boolean(default=False, scope=Scope.user_state)
    score = Dict(scope=Scope.user_state)
    last_submission_time = String(scope=Scope.user_state)
    input_state = Dict(scope=Scope.user_state)
    student_answers = Dict(scope=Scope.user_state)
    correct_map = Dict(scope=Scope.user_state)

    def student_view(self, _context: Any) -> Fragment:
        if self.seed is None:
            self.seed = 1
            self.input_state = {"input_2_1": {}, "input_3_1": {}}
            self.score = {"raw_earned": 0, "raw_possible": 2}
        return _shown(self)

    @XBlock.handler
    def submit(self, request: Request, _suffix: str = "") -> Response:
        """Store an attempt, made from the text of the request, and publish its grade."""
        attempts = self.attempts + 1
        state = data.state(Random(request.body.decode()))
        for name, value in {**state, "attempts": attempts}.items():
            setattr(self, name, value)
        self.runtime.publish(self, "grade", {"value": 1, "max_value": 2})
        return Response()


class PollBlock(XBlock):
    """Counts the choices of all learners."""

    choice = String(scope=Scope.user_state)
    votes = Dict(scope=Scope.user_state_summary)

    def student_view(self, _context: Any) -> Fragment:
        return _shown(self)

    @XBlock.handler
    def submit(self, request: Request, _suffix: str = "") -> Response:
        self.choice = request.body.decode()
        self.votes[self.choice] = self.votes.get(self.choice, 0) + 1
        return Response()


class VideoBlock(XBlock):
    """Keeps the learner's preferences beside the position."""

    saved_video_position = String(default="00:00:00", scope=Scope.user_state)
    speed = Float(scope=Scope.user_state)
    global_speed = Float(default=1.0, scope=Scope.preferences)
    transcript_language = String(default="en", scope=Scope.preferences)
    youtube_is_available = Boolean(default=True, scope=Scope.user_info)

    def student_view(self, _context: Any) -> Fragment:
        return _shown(self)

    @XBlock.handler
    def submit(self, request: Request, _suffix: str = "") -> Response:
        self.saved_video_position = request.body.decode()
        self.global_speed = 1.25
        self.youtube_is_available = False
        return Response()


class TextBlock(XBlock):
    """Has no learner state."""

    def student_view(self, _context: Any) -> Fragment:
        return _shown(self)


class NotesAside(XBlockAside):
    """Margin notes beside problems and texts."""

    note = String(default="", scope=Scope.user_state)
    is_folded = Boolean(default=False, scope=Scope.preferences)

    @XBlockAside.aside_for("student_view")
    def beside(self, _block: XBlock, _context: Any) -> Fragment:
        return _shown(self)


def _shown(block: XBlock) -> Fragment:
    names = [name for name, field in block.fields.items() if field.scope in SHOWN]
    return Fragment(" ".join(f"{getattr(block, name)}" for name in names))


SHOWN = (Scope.user_state, Scope.preferences, Scope.user_info, Scope.user_state_summary)
TYPES: Mapping[str, type[XBlock]] = {
    "problem": ProblemBlock,
    "poll": PollBlock,
    "video": VideoBlock,
    "text": TextBlock,
}
ASIDE_TYPE = "notes_aside"
DECORATED = ("problem", "text")

KEYS: tuple[UsageKey, ...] = tuple(
    data.course_key(0).make_usage_key(block_type, f"{number:032x}")
    for number, block_type in enumerate(["problem", "poll", "video", "text", "problem", "poll"] * 5)
)
"""The blocks of the unit, in their order."""

PROBLEM = KEYS[0]


class UnitRuntime(Runtime):
    """The part of a runtime that every contender has: the types of the unit's blocks and asides."""

    def load_block_type(self, block_type: str) -> type[XBlock]:
        return TYPES[block_type]

    def load_aside_type(self, _aside_type: str) -> type[XBlockAside]:
        return NotesAside

    def create_aside(self, _block_type: str, keys: ScopeIds) -> XBlockAside:
        return NotesAside(runtime=self, scope_ids=keys)

    def applicable_aside_types(self, block: XBlock) -> list[str]:
        return [ASIDE_TYPE] if block.scope_ids.block_type in DECORATED else []

    def handler_url(self, *_arguments: Any, **_options: Any) -> str:
        raise NotImplementedError("blocks of this unit have no pages")

    resource_url = local_resource_url = handler_url


def request_of(answer: str) -> Request:
    """Return the request of a page's script."""
    return Request.blank("/", method="POST", body=answer.encode())

"""The XBlock runtime of this host. It connects blocks to the user state client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.templatetags.static import static
from django.urls import reverse
from fs.osfs import OSFS
from opaque_keys.edx.keys import UsageKey
from xblock.core import XBlock
from xblock.field_data import FieldData, ReadOnlyFieldData, SplitFieldData
from xblock.fields import Scope, ScopeIds
from xblock.runtime import KvsFieldData, Runtime

from demo.host.blocks import ASIDE_TYPES, DECORATED_TYPES, EXTRACTED, HostMixin, VerticalBlock
from demo.host.recap import RecapBlock
from demo.host.services import services_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element
    from webob import Request, Response

    from demo.host.ids import CourseIds
    from demo.host.learners import Learner
    from demo.host.outline import Course
    from xblock_user_state.runtime import UserStateKeyValueStore

OWN = {"recap": RecapBlock, "vertical": VerticalBlock}
"""Block types that this host defines itself. They are not installed as entry points."""

AUTHORED_SCOPES = (Scope.content, Scope.settings, Scope.children, Scope.parent)
LEARNER_SCOPES = (Scope.user_state, Scope.user_state_summary, Scope.preferences, Scope.user_info)


def split_fields(authored: FieldData, learner: FieldData) -> SplitFieldData:
    """Return the field data of blocks: authored scopes from `authored`, learner scopes from `learner`."""
    return SplitFieldData(dict.fromkeys(AUTHORED_SCOPES, authored) | dict.fromkeys(LEARNER_SCOPES, learner))


class CourseRuntime(Runtime):
    """The part of the runtime that is the same for all learners: block types, addresses, and parsing of the XML."""

    # XBlock deprecated this attribute, but its `get_block` still reads the learner's id from it.
    user_id: int | None = None
    is_author_mode = False

    def __init__(
        self, ids: CourseIds, files: OSFS, field_data: FieldData, services: dict[str, object] | None = None
    ) -> None:
        super().__init__(ids, ids, mixins=(HostMixin,), services={"field-data": field_data, **(services or {})})
        self.ids = ids
        self.course_id = ids.course_key
        self.resources_fs = files

    def load_block_type(self, block_type: str) -> type[XBlock]:
        if block_type in OWN:
            return OWN[block_type]
        return super().load_block_type(EXTRACTED.get(block_type, block_type))

    def applicable_aside_types(self, block: XBlock) -> list[str]:
        return list(ASIDE_TYPES) if block.scope_ids.block_type in DECORATED_TYPES else []

    def get_policy(self, usage_id: UsageKey) -> dict[str, Any]:
        """Return overrides of the settings in the XML: none. Some blocks call this method, so it must exist."""
        return {}

    def add_block(self, node: _Element, parent: UsageKey | None = None) -> UsageKey:
        """Create a block and its children from the course's XML; return the key of the block."""
        key = self.ids.usage(node.tag, str(node.attrib.pop("url_name")))
        scope_ids = ScopeIds(None, node.tag, self.ids.get_definition_id(key), key)
        block = self.mixologist.mix(self.load_block_type(node.tag)).parse_xml(node, self, scope_ids)
        block.parent = parent
        # XBlock keeps parsed fields in memory until a save. The next request creates new blocks.
        block.save()
        return key

    def add_node_as_child(self, block: XBlock, node: _Element) -> None:
        block.children.append(self.add_block(node, block.scope_ids.usage_id))

    def handler_url(
        self, block: XBlock, handler_name: str, suffix: str = "", query: str = "", thirdparty: bool = False
    ) -> str:
        if thirdparty:
            raise NotImplementedError("handlers of this host serve only its own pages")
        parts = [block.scope_ids.usage_id, handler_name, suffix]
        url = reverse("handler", args=parts if suffix else parts[:2])
        return f"{url}?{query}" if query else url

    def local_resource_url(self, block: XBlock, uri: str) -> str:
        return reverse("resource", args=[block.scope_ids.block_type, uri])

    def resource_url(self, resource: str) -> str:
        return static(resource)

    def publish(self, block: XBlock, event_type: str, event_data: dict[str, Any]) -> None:
        """Drop the event: without a learner there is no score to store."""

    def _css_classes_for(self, block: XBlock, view: str) -> list[str]:
        classes: list[str] = super()._css_classes_for(block, view)
        # The stylesheets of blocks that were XModules select these classes, which Open edX adds.
        if getattr(block, "uses_xmodule_styles_setup", False):
            classes += ["xmodule_display", f"xmodule_{block.unmixed_class.__name__}"]
        return classes


class LearnerRuntime(CourseRuntime):
    """The runtime of one learner, for one request.

    Authored fields come from the course and are read-only. The four learner scopes go through `UserStateKeyValueStore`
    to the client. The integration needs nothing else.
    """

    def __init__(self, course: Course, learner: Learner, learner_state: UserStateKeyValueStore) -> None:
        self.learner_state = learner_state
        fields = split_fields(ReadOnlyFieldData(course.authored), KvsFieldData(self.learner_state))
        super().__init__(course.ids, course.files, fields, services_for(learner))
        self.user_id = learner.user.id
        self.anonymous_student_id = learner.anonymous_id

    def get_page(self, key: UsageKey) -> XBlock:
        """Return a block after one prefetch of its state and the state of its descendants and asides."""
        block = self.get_block(key)
        self.learner_state.prefetch(_with_descendants(block))
        return block

    def publish(self, block: XBlock, event_type: str, event_data: dict[str, Any]) -> None:
        """Store the score of a ``grade`` event. A host with analytics would also pass on the other events."""
        self.learner_state.publish(block, event_type, event_data)

    def handle(self, block: XBlock, handler_name: str, request: Request, suffix: str = "") -> Response:
        # The store refuses grades of handlers that pass on events of the browser.
        with self.learner_state.handling(handler_name):
            return super().handle(block, handler_name, request, suffix)


def _with_descendants(block: XBlock) -> Iterator[XBlock]:
    yield block
    for child in block.get_children():
        yield from _with_descendants(child)

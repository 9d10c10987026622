"""The XBlock runtimes of this host: one that loads the course, and one that connects blocks to a learner's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.templatetags.static import static
from django.urls import reverse
from fs.osfs import OSFS
from opaque_keys.edx.keys import UsageKey
from xblock.core import XBlock
from xblock.field_data import FieldData
from xblock.fields import Scope, ScopeIds

from demo.host.blocks import ASIDE_TYPES, DECORATED_TYPES, VerticalBlock
from demo.host.recap import RecapBlock
from demo.host.services import services_for
from xblock_user_state.runtime import BlockRuntime, OpenEdXBlockMixin, UserStateRuntime

if TYPE_CHECKING:
    from lxml.etree import _Element

    from demo.host.ids import CourseIds
    from demo.host.learners import Learner
    from demo.host.outline import Course
    from xblock_user_state.runtime import UserStateKeyValueStore

LEARNER_SCOPES = (Scope.user_state, Scope.preferences, Scope.user_info, Scope.user_state_summary)

OWN = {"recap": RecapBlock, "vertical": VerticalBlock}
"""Block types that this host defines itself. They are not installed as entry points."""


class HostRuntime(BlockRuntime):
    """The part of a runtime that is the same with and without a learner: block types and addresses."""

    def load_block_type(self, block_type: str) -> type[XBlock]:
        return OWN.get(block_type) or super().load_block_type(block_type)

    def applicable_aside_types(self, block: XBlock) -> list[str]:
        return list(ASIDE_TYPES) if block.scope_ids.block_type in DECORATED_TYPES else []

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


class CourseRuntime(HostRuntime):
    """The runtime without a learner, which creates the course from its XML."""

    def __init__(self, ids: CourseIds, files: OSFS, field_data: FieldData) -> None:
        super().__init__(ids, ids, mixins=(OpenEdXBlockMixin,), services={"field-data": field_data})
        self.ids = ids
        self.course_id = ids.course_key
        self.resources_fs = files

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


class LearnerRuntime(HostRuntime, UserStateRuntime):
    """The runtime of one learner, for one request.

    Authored fields come from the course and are read-only. The four learner scopes go through `UserStateKeyValueStore`
    to the client. The integration needs nothing else.
    """

    def __init__(self, course: Course, learner: Learner, learner_state: UserStateKeyValueStore) -> None:
        super().__init__(
            course.authored,
            learner_state,
            ids=course.ids,
            services=services_for(learner),
            mixins=(OpenEdXBlockMixin,),
        )
        self.course_id = course.ids.course_key
        self.resources_fs = course.files
        self.anonymous_student_id = learner.anonymous_id

    def check_state(self, block: XBlock) -> None:
        """Raise `DamagedState` if a row of the learner's in a block can't be read. No statement for a prefetched block.

        A block that reads only some of its fields would find out late, or never.
        """
        fields = self.service(block, "field-data")
        for name, field in block.fields.items():
            if field.scope in LEARNER_SCOPES:
                fields.has(block, name)

"""Loads the course from its XML, once in a process. All learners share the result."""

from __future__ import annotations

import os
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs.osfs import OSFS
from lxml import etree
from opaque_keys.edx.locator import CourseLocator
from xblock.runtime import DictKeyValueStore, KeyValueStore, KvsFieldData

from demo.host.blocks import SHOWN_TYPES
from demo.host.ids import CourseIds
from demo.host.outline import Course, Item, Section, Unit
from demo.host.runtime import CourseRuntime
from xblock_user_state.runtime import split_field_data

if TYPE_CHECKING:
    from collections.abc import Iterator

COURSE = Path(os.environ.get("DEMO_COURSE", Path(__file__).parent.parent / "course" / "night-sky.xml"))


class AuthoredContent(DictKeyValueStore):
    """The authored fields of all blocks. Each read returns a copy, because blocks change the values they get."""

    def get(self, key: KeyValueStore.Key) -> Any:
        return deepcopy(super().get(key))


@cache
def get_course() -> Course:
    return load_course(COURSE)


def load_course(path: Path) -> Course:
    root = etree.parse(path, etree.XMLParser(remove_comments=True)).getroot()
    ids = CourseIds(CourseLocator(root.get("org"), root.get("course"), root.get("run")))
    authored = KvsFieldData(AuthoredContent())
    # Some blocks write learner fields while they parse their XML. There is no learner yet, so these writes are dropped.
    discarded = KvsFieldData(DictKeyValueStore())
    files = OSFS(str(path.parent))
    runtime = CourseRuntime(ids, files, split_field_data(authored, discarded))
    sections = tuple(Section(_title(section), tuple(_units(runtime, section))) for section in root)
    return Course(_title(root), sections, ids, files, authored)


def _title(node: etree._Element) -> str:
    return str(node.attrib["display_name"])


def _units(runtime: CourseRuntime, section: etree._Element) -> Iterator[Unit]:
    for node in section:
        key = runtime.add_block(node)
        children = [runtime.get_block(child) for child in runtime.get_block(key).children]
        # Open edX asks the same method for its "problem responses" report.
        items = tuple(
            Item(child.scope_ids.usage_id, child.display_name, hasattr(child, "generate_report_data"))
            for child in children
            if child.scope_ids.block_type not in SHOWN_TYPES
        )
        yield Unit(key, runtime.get_block(key).display_name, items)

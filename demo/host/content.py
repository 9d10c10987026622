"""The course: read once from its XML, kept in memory, the same for all learners."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs.osfs import OSFS
from lxml import etree
from opaque_keys.edx.keys import UsageKey
from opaque_keys.edx.locator import CourseLocator
from xblock.field_data import FieldData
from xblock.runtime import DictKeyValueStore, KeyValueStore, KvsFieldData

from demo.host.blocks import SHOWN_TYPES
from demo.host.ids import CourseIds
from demo.host.runtime import CourseRuntime, split_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

COURSE = Path(os.environ.get("DEMO_COURSE", Path(__file__).parent.parent / "course" / "night-sky.xml"))


@dataclass(frozen=True)
class Item:
    """A block that learners do something in."""

    key: UsageKey
    title: str
    has_report: bool


@dataclass(frozen=True)
class Unit:
    """One page of the course."""

    key: UsageKey
    title: str
    items: tuple[Item, ...]

    @property
    def slug(self) -> str:
        return str(self.key.block_id)


@dataclass(frozen=True)
class Section:
    title: str
    units: tuple[Unit, ...]


@dataclass(frozen=True)
class Course:
    """The outline, and with `ids` and `authored` all that a runtime needs to build its blocks."""

    title: str
    sections: tuple[Section, ...]
    ids: CourseIds
    files: OSFS
    authored: FieldData

    @property
    def units(self) -> list[Unit]:
        return [unit for section in self.sections for unit in section.units]

    @property
    def items(self) -> list[Item]:
        return [item for unit in self.units for item in unit.items]

    def item(self, key: UsageKey) -> Item | None:
        return next((item for item in self.items if item.key == key), None)


class AuthoredContent(DictKeyValueStore):
    """Shared by all requests, so each reader gets a copy: blocks do change the lists and dicts they are given."""

    def get(self, key: KeyValueStore.Key) -> Any:
        return deepcopy(super().get(key))


@cache
def get_course() -> Course:
    return load_course(COURSE)


def load_course(path: Path) -> Course:
    root = etree.parse(path, etree.XMLParser(remove_comments=True)).getroot()
    ids = CourseIds(CourseLocator(root.get("org"), root.get("course"), root.get("run")))
    authored = KvsFieldData(AuthoredContent())
    # Some blocks write learners' fields while they are read. Nobody is there yet, so that goes nowhere.
    nobody = KvsFieldData(DictKeyValueStore())
    files = OSFS(str(path.parent))
    runtime = CourseRuntime(ids, files, split_fields(authored, nobody))
    sections = tuple(Section(_title(section), tuple(_units(runtime, section))) for section in root)
    return Course(_title(root), sections, ids, files, authored)


def _title(node: etree._Element) -> str:
    return str(node.attrib["display_name"])


def _units(runtime: CourseRuntime, section: etree._Element) -> Iterator[Unit]:
    for node in section:
        key = runtime.add_block(node)
        children = [runtime.get_block(child) for child in runtime.get_block(key).children]
        items = tuple(
            Item(child.scope_ids.usage_id, child.display_name, hasattr(child, "generate_report_data"))
            for child in children
            if child.scope_ids.block_type not in SHOWN_TYPES
        )
        yield Unit(key, runtime.get_block(key).display_name, items)

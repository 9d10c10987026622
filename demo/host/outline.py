"""The outline of a course: sections, units, and the blocks that learners work in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fs.osfs import OSFS
    from opaque_keys.edx.keys import UsageKey
    from xblock.field_data import FieldData

    from demo.host.ids import CourseIds


@dataclass(frozen=True)
class Item:
    """A block that learners work in. Only some block types can report the answers of all learners."""

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
    """The outline, and the parts that a runtime needs to create blocks: `ids`, `files` and `authored` fields."""

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

"""Comparison of two states of a block, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from xblock_user_state.state.codec import encode


class FieldChange(NamedTuple):
    """One field that differs. ``old`` is ``None`` for an added field, ``new`` for a removed one."""

    field: str
    kind: Literal["added", "changed", "removed"]
    old: Any
    new: Any


def diff(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[FieldChange]:
    """Return the fields that differ, in the order of `new`, removed ones last.

    Values differ if their JSON texts do: ``1``, ``1.0`` and ``True`` differ, NaN equals NaN. An absent state (``None``)
    has no fields.
    """
    old, new = old or {}, new or {}
    changes = [
        FieldChange(field, "changed" if field in old else "added", old.get(field), value)
        for field, value in new.items()
        if field not in old or encode(old[field]) != encode(value)
    ]
    return changes + [FieldChange(field, "removed", value, None) for field, value in old.items() if field not in new]

"""JSON texts of fields, for the types of XBlock's fields that have no JSON form: sets and references."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from opaque_keys import OpaqueKey

from xblock_user_state.state.codec import FieldTexts, encode_fields

# XBlock reads a set's items back from a list, so items that become lists or dicts would be unreadable.
_ITEMS = (str, int, float, type(None))


def encode_values(fields: Mapping[str, Any], owner: object) -> FieldTexts:
    """Return the texts of these fields, as `encode_fields` does.

    A set is written as a sorted list, which ``Set`` reads back as a set. A key is written as its text, also in the
    lists and dicts of ``ReferenceList`` and ``ReferenceValueDict``. These fields return the texts.
    """
    try:
        return encode_fields(fields, owner)
    # Late, because looking at every item takes longer than encoding it, and these types are rare.
    except TypeError:
        return encode_fields({name: _with_json_form(value) for name, value in fields.items()}, owner)


def _with_json_form(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        items = [_text_of(item) for item in value]
        return sorted(items, key=_order) if all(isinstance(item, _ITEMS) for item in items) else value
    if isinstance(value, list):
        return [_text_of(item) for item in value]
    if isinstance(value, dict):
        return {name: _text_of(item) for name, item in value.items()}
    return _text_of(value)


def _text_of(value: Any) -> Any:
    return str(value) if isinstance(value, OpaqueKey) else value


def _order(item: Any) -> tuple[int, Any]:
    """Return the sort key of a set's item: equal sets have equal texts, whatever the types of their items."""
    if isinstance(item, str):
        return 2, item
    # NaN is not less than any number, and not more.
    is_number = item is not None and not math.isnan(item)
    return (0, item) if is_number else (1, str(item))

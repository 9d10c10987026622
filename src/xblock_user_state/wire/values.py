"""Values of messages: texts of JSON that nobody decodes, names of fields, states, grades and learners."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from xblock_user_state.interface import Learner, UserId
from xblock_user_state.state import codec

_NULL = Raw(b"null")
_is_strict_json = msgspec.json.Decoder(Raw).decode


class DamagedMessage(ValueError):
    """A message is not JSON, or not the message that it should be."""


Json = Raw | UnsetType
"""A value of a message that nobody has decoded."""


def pack_json(text: str | None) -> Raw:
    """Return the JSON text of an object or array as a value of a message; as a string if strict JSON can't hold it."""
    if text is None:
        return _NULL
    # White space around the value would be lost.
    if text[:1] in "{[" and text[-1:] in "}]":
        try:
            return Raw(_is_strict_json(text))
        # Deep values may be too deep for a deep call stack; a text with a lone surrogate has no UTF-8.
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            pass
    return Raw(codec.encode(text))


def unpack_json(value: Json) -> str | None:
    """Return the JSON text that `pack_json` took; ``None`` for a value that is not there."""
    text = "null" if value is UNSET else str(value, "utf-8")
    if text == "null":
        return None
    if text[:1] in "{[":
        return text
    if text[:1] != '"':
        raise DamagedMessage(f"{text[:60]} stands where an object, an array, or a string with its text should")
    found: str = codec.decode(text)
    return found


def pack_names(names: Iterable[str] | None) -> Raw:
    """Return names of fields as a value of a message; ``None`` for all fields."""
    return _NULL if names is None else pack_json(codec.encode(list(names)))


def unpack_names(value: Json) -> list[str] | None:
    """Return names of fields."""
    text = unpack_json(value)
    names = None if text is None else _decoded(text)
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise DamagedMessage(f"{str(text)[:60]} is no list of names")
    return names


def unpack_state(value: Json) -> dict[str, Any] | None:
    """Return the fields of a state that a caller sent; ``None`` for null."""
    text = unpack_json(value)
    state = None if text is None else _decoded(text)
    if state is not None and not isinstance(state, dict):
        raise DamagedMessage(f"{str(text)[:60]} is no JSON object of fields")
    return state


def _decoded(text: str) -> Any:
    try:
        return codec.decode(text)
    except (ValueError, RecursionError) as error:
        raise DamagedMessage(f"{text[:60]} is not JSON: {error}") from error


def pack_number(number: float | None) -> float | str | None:
    """Return a grade. SQL may have stored one that is no JSON number; it stands as ``"nan"``, ``"inf"``, ``"-inf"``."""
    return str(number) if number is not None and not math.isfinite(number) else number


def unpack_number(number: float | str | None) -> float | None:
    """Return the grade that `pack_number` took."""
    try:
        return None if number is None else float(number)
    except ValueError:
        raise DamagedMessage(f"{number!r} is no number") from None


class LearnerRef(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A learner by id; or by a username that strict JSON can't hold, as its JSON text."""

    id: int | str | None = None
    text: str | None = None


PackedLearner = str | LearnerRef | None
"""A learner: the username, null or ``""`` for nobody, or an object with the ``id``."""


def pack_learner(learner: Learner) -> PackedLearner:
    """Return a learner as a value of a message. Ids that are not integers stand as their texts."""
    if isinstance(learner, UserId):
        return LearnerRef(id=learner.id if type(learner.id) is int else str(learner.id))
    if learner and any("\ud800" <= character <= "\udfff" for character in learner):
        return LearnerRef(text=codec.encode(learner))
    return learner


def unpack_learner(learner: PackedLearner) -> Learner:
    """Return the learner that `pack_learner` took."""
    if not isinstance(learner, LearnerRef):
        return learner
    if learner.text is None:
        if learner.id is None:
            raise DamagedMessage("a learner needs a name or an id")
        return UserId(learner.id)
    name = _decoded(learner.text)
    if not isinstance(name, str):
        raise DamagedMessage(f"{learner.text[:60]} is no username")
    return name

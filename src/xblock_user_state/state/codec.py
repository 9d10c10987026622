r"""The JSON texts of states.

Values mean the same as in Open edX's store, which uses simplejson: namedtuples become objects at any depth, ``Decimal``
becomes a number, NaN and infinities are kept, and keys that are not strings become strings. Texts are compact. They are
ASCII, so that ``\u0000`` and lone surrogates survive in every database. Two states are equal if their texts are. A
change needs no values: it replaces the texts of some fields.

Plain JSON values take a fast path: msgspec and the standard library's C code read and write them exactly as simplejson
does, which tests hold. simplejson handles all other values.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from json import JSONEncoder
from typing import Any

import msgspec

MAX_DEPTH = 200
"""The limit of nesting: low enough to decode a value deep in a host's call stack."""

# Python refuses to convert longer integers to text and back (CPython issue 95778). Decimal converts them.
_MAX_INT_DIGITS = 4300
# Numbers that msgspec and the standard library write differently: those with an exponent, and those below 0.0001. Both
# patterns also match some texts that merely look like such a number. They begin with a literal, which is fast to find.
_EXPONENT = re.compile(r"e[-+]?\d+[,\]}]")
_SMALL_FLOAT = "0.0000"
_SCALARS = (str, int, float, Decimal, type(None))
# Types whose values are immutable and read back as they were written.
_PLAIN = frozenset((str, int, float, bool, type(None)))
_PLAIN_OR_CONTAINERS = _PLAIN | {dict, list}
_NAMES = frozenset((str,))


class NotAState(ValueError):
    """A stored text is not the JSON object of a state. The client writes no such text: SQL or a script has."""


FieldTexts = dict[str, msgspec.Raw]
"""A state as the JSON texts of its fields."""

_read_fast = msgspec.json.Decoder().decode
# A structure without fields: the decoder checks the syntax of all, and keeps nothing.
_skip_fast = msgspec.json.Decoder(msgspec.defstruct("_Object", ())).decode
_split_fast = msgspec.json.Decoder(FieldTexts).decode
_join_fast = msgspec.json.Encoder().encode
# The standard library's encoder, because msgspec writes NaN as null and leaves non-ASCII characters unescaped.
_write_fast = JSONEncoder(separators=(",", ":"), check_circular=False).encode


def encode(value: object) -> str:
    """Return the JSON text of `value`. Raises ``TypeError``, ``ValueError`` or ``RecursionError``."""
    try:
        return _dumps(value)
    except ValueError as error:
        # The wording of CPython. Decimals avoid this error, and no other.
        if "integer string conversion" not in str(error):
            raise
        return _dumps(_with_decimals(value))


def decode(text: str) -> Any:
    """Return the value of a JSON text, a fresh object at every call."""
    try:
        return _read_fast(text)
    # NaN, a lone surrogate, a number beyond all floats; or not JSON at all.
    except msgspec.DecodeError:
        # Late, here and below: few processes meet such a text, or such a value.
        import simplejson  # noqa: PLC0415

        return simplejson.loads(text, allow_nan=True, parse_int=_parse_int)


def decode_state(text: str) -> dict[str, Any]:
    """Return the state that a stored text holds, a fresh object at every call. Raises `NotAState`."""
    try:
        state = decode(text)
    except (ValueError, RecursionError) as error:
        raise NotAState(f"it is not JSON: {error}") from error
    if type(state) is not dict:
        raise NotAState("it is not a JSON object")
    return state


def check_state(text: str) -> None:
    """Raise `NotAState` unless a text is the JSON object of a state. Makes no values."""
    try:
        _skip_fast(text)
    # msgspec can't read NaN, lone surrogates, and texts that are no state.
    except (msgspec.DecodeError, RecursionError):
        decode_state(text)


def is_state(text: str) -> bool:
    """Tell whether a text is the JSON object of a state."""
    try:
        check_state(text)
    except NotAState:
        return False
    return True


def normal_text(text: str) -> str:
    """Return the text that the client would write for the state in `text`, which another writer wrote.

    Raises `NotAState`.
    """
    try:
        state = _read_fast(text)
    except (msgspec.DecodeError, RecursionError):
        return encode(decode_state(text))
    if type(state) is not dict:
        raise NotAState("it is not a JSON object")
    # msgspec writes five times as fast. It differs in some numbers, in characters outside of printable ASCII, and in
    # escapes by number.
    fast = _join_fast(state).decode()
    is_plain = fast.isascii() and fast.isprintable() and "\\u" not in fast
    if is_plain and _SMALL_FLOAT not in fast and not _EXPONENT.search(fast):
        return fast
    try:
        # The values come from JSON, so all of them are plain.
        return _write_fast(state)
    # An integer that Python refuses to convert to text.
    except ValueError:
        return encode(state)


def decode_field(text: msgspec.Raw) -> Any:
    """Return the value of one field of `split`, a fresh object at every call."""
    return decode(_as_text(text))


def split(text: str) -> FieldTexts:
    """Return the texts of the fields of a state. Raises `NotAState`."""
    try:
        return _split_fast(text)
    # msgspec can't cut texts with NaN or lone surrogates; nor texts that are no state.
    except (msgspec.DecodeError, RecursionError):
        return {name: msgspec.Raw(encode(value)) for name, value in decode_state(text).items()}


def join(fields: FieldTexts) -> str:
    """Return the text of the state that has these fields."""
    # msgspec does not escape other names as `encode` does.
    names = "".join(fields)
    if names.isascii() and names.isprintable():
        return _join_fast(fields).decode()
    return f"{{{','.join(f'{encode(name)}:{_as_text(text)}' for name, text in fields.items())}}}"


def encode_fields(fields: Mapping[str, Any], owner: object) -> FieldTexts:
    """Return the texts of these fields.

    Each text is normalised by a round trip, so that writing a value that was read is no change. Raises ``TypeError`` or
    ``ValueError`` for a value that can't be written as JSON, with a message that names `owner`, the field and the path.
    """
    # str() of a member of a string enumeration is not its value.
    named = {str.__str__(name): value for name, value in fields.items()}
    if _are_plain(named.values()):
        try:
            return split(_write_fast(named))
        # An integer that Python refuses to convert to text.
        except ValueError:
            pass
    return {name: msgspec.Raw(_normal_text(name, value, owner)) for name, value in named.items()}


def _are_plain(values: Collection[Any], levels: int = MAX_DEPTH) -> bool:
    """Tell whether values read back as they are, and are nested in at most `levels` levels."""
    kinds = set(map(type, values))
    if kinds <= _PLAIN:
        return True
    return kinds <= _PLAIN_OR_CONTAINERS and levels > 0 and all(_has_plain(value, levels - 1) for value in values)


def _has_plain(value: Any, levels: int) -> bool:
    if type(value) is dict:
        return _NAMES.issuperset(map(type, value)) and _are_plain(value.values(), levels)
    return type(value) is not list or _are_plain(value, levels)


def _as_text(text: msgspec.Raw) -> str:
    return str(text, "utf-8")


def _dumps(value: object) -> str:
    import simplejson  # noqa: PLC0415

    return simplejson.dumps(value, allow_nan=True, separators=(",", ":"))


def _parse_int(digits: str) -> int:
    return int(digits) if len(digits) < _MAX_INT_DIGITS else int(Decimal(digits))


def _normal_text(name: str, value: object, owner: object) -> str:
    try:
        return _written_back(value)
    except (TypeError, ValueError, RecursionError) as error:
        where = next(_problems(value, name, ()), f"{name}: {error}")
        # A RecursionError means a value that is nested too deeply: a bad value too.
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"the state of {owner} can't be written as JSON, field {name!r}: {where}") from error


def _written_back(value: object) -> str:
    """Return the text of `value` after a round trip, which makes tuples lists and joins keys with the same text."""
    text = encode(value)
    normal = decode(text)
    # Counting brackets is cheap, and few values have enough of them to be walked through.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(normal, MAX_DEPTH):
        raise ValueError(f"nested too deeply, in more than {MAX_DEPTH} levels")
    return encode(normal)


def _is_deeper(value: Any, levels: int) -> bool:
    """Tell whether containers are nested in more than `levels` levels."""
    # Level by level, because the value may be too deep for recursion.
    level = [value]
    for _ in range(levels):
        containers = (
            item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)
        )
        level = [item for container in containers for item in container]
    return any(isinstance(item, dict | list) for item in level)


def _problems(value: Any, path: str, parents: tuple[int, ...]) -> Iterator[str]:
    """Yield the reasons why `value` can't be JSON, each with its path. Slow: called after encoding has failed."""
    # By identity, because equal containers may be inside each other.
    if id(value) in parents:
        yield f"{path} contains itself"
    elif len(parents) > MAX_DEPTH:
        yield f"{path[:60]}… is nested too deeply, in more than {MAX_DEPTH} levels"
    elif isinstance(value, bytes):
        yield from _bytes_problems(value, path)
    elif isinstance(value, _SCALARS):
        return
    else:
        inside = (*parents, id(value))
        # As simplejson does.
        value = value._asdict() if hasattr(value, "_asdict") else value
        for item, item_path in _items(value, path):
            if item_path is None:
                yield str(item)
            else:
                yield from _problems(item, item_path, inside)


def _items(value: Any, path: str) -> Iterator[tuple[Any, str | None]]:
    """Yield the items of a container, each with its path. A problem has the path ``None``."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, (*_SCALARS, bytes)):
                yield item, f"{path}[{key!r}]"
            else:
                yield f"{path} has the key {key!r}, a {type(key).__name__}; use a string", None
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield item, f"{path}[{index}]"
    else:
        yield f"{path} is a {type(value).__name__}; use a dict, list, string, number, boolean or None", None


def _bytes_problems(value: bytes, path: str) -> Iterator[str]:
    try:
        value.decode()
    except UnicodeDecodeError:
        yield f"{path} is bytes that are not UTF-8; use a string"


def _with_decimals(value: Any) -> Any:
    """Replace integers by decimals: these have the same digits, and Python converts them at any length."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {_with_decimals(key): _with_decimals(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_decimals(item) for item in value]
    # JSON has true and false of its own.
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value

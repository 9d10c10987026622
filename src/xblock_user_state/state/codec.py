r"""The JSON text of a state: what goes in comes out.

The meaning is that of the store that we replace (simplejson): namedtuples become objects at any depth,
``Decimal`` a number, NaN and infinities are kept, keys that are not strings become strings. The text is
ASCII, so ``\u0000`` and lone surrogates survive in every database, and compact. Two states are the same if
their texts are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from json import JSONDecoder, JSONEncoder
from typing import Any

import simplejson

MAX_DEPTH = 200
"""How deep values may be nested: what was accepted can be read from deep down a host's stack too."""

# Beyond this many digits Python refuses to convert between int and str (CPython issue 95778); Decimal does
# not.
_MAX_INT_DIGITS = 4300
_SCALARS = (str, int, float, Decimal, type(None))
# Are what they are read back as, and can't be changed.
_PLAIN = frozenset((str, int, float, bool, type(None)))

# The standard library's C code, faster than simplejson's by a third. It reads the same, and of plain JSON values it
# writes the same text: tests hold that. Where it fails, simplejson has the word.
_read_fast = JSONDecoder().decode
_write_fast = JSONEncoder(separators=(",", ":"), check_circular=False).encode


def encode(value: object) -> str:
    """Return the JSON text of `value`. Raises ``TypeError``, ``ValueError`` or ``RecursionError``."""
    try:
        return _dumps(value)
    except ValueError as error:
        if "integer string conversion" not in str(error):
            raise
        return _dumps(_with_decimals(value))


def encode_normalized(value: Mapping[str, Any]) -> str:
    """Return the text that `encode` does, of values that `decode` or `normalize_fields` returned."""
    try:
        return _write_fast(value)
    except ValueError:  # An integer that Python does not print.
        return encode(value)


def decode(text: str) -> Any:
    """Return the value of a text that `encode` wrote: a fresh object at every call."""
    try:
        return _read_fast(text)
    except ValueError:  # No JSON, or an integer that Python does not read.
        return simplejson.loads(text, allow_nan=True, parse_int=_parse_int)


def normalize_fields(fields: Mapping[str, Any], owner: object) -> dict[str, Any]:
    """Return the fields as they will be read back: a copy of plain JSON values that shares nothing with `fields`.

    Encoding what `normalize_fields` returned gives the same text every time, so that a value written twice is
    no change. Raises ``TypeError`` or ``ValueError`` that names `owner`, the field and the path inside it,
    where a value can't be written as JSON.
    """
    # A string of an enumeration has its own idea of str(); what is stored is its value.
    return {str.__str__(name): _normalize(name, value, owner) for name, value in fields.items()}


def _dumps(value: object) -> str:
    return simplejson.dumps(value, allow_nan=True, separators=(",", ":"))


def _parse_int(digits: str) -> int:
    return int(digits) if len(digits) < _MAX_INT_DIGITS else int(Decimal(digits))


def _normalize(name: str, value: object, owner: object) -> Any:
    if type(value) in _PLAIN:
        return value
    try:
        return _read_back(value)
    except (TypeError, ValueError, RecursionError) as error:
        where = next(_problems(value, name, ()), f"{name}: {error}")
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"the state of {owner} can't be written as JSON, field {name!r}: {where}") from error


def _read_back(value: object) -> Any:
    text = encode(value)
    normal = decode(text)
    # Counting brackets is cheap; few values have enough of them to be looked at.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(normal, MAX_DEPTH):
        raise ValueError(f"nested too deeply, in more than {MAX_DEPTH} levels")
    return normal


def _is_deeper(value: Any, levels: int) -> bool:
    """Tell whether containers are nested in more than so many levels."""
    level = [value]
    for _ in range(levels):
        containers = (
            item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)
        )
        level = [item for container in containers for item in container]
    return any(isinstance(item, dict | list) for item in level)


def _problems(value: Any, path: str, parents: tuple[int, ...]) -> Iterator[str]:
    """Yield what keeps `value` from being JSON, each with its path. Only walked once encoding has failed."""
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
        value = value._asdict() if hasattr(value, "_asdict") else value
        for item, item_path in _items(value, path):
            if item_path is None:
                yield str(item)
            else:
                yield from _problems(item, item_path, inside)


def _items(value: Any, path: str) -> Iterator[tuple[Any, str | None]]:
    """Yield the items of a container, each with its path; a problem instead, with the path ``None``."""
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
    """Replace integers, which Python may refuse to print, by decimals, which print the same digits."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {_with_decimals(key): _with_decimals(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_decimals(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value

"""The JSON meaning of states, as a table of law 4.

Each row has a value, its text in the database, and the value that is read back.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict, namedtuple
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, NamedTuple

Score = namedtuple("Score", ["raw_earned", "raw_possible"])


class Point(NamedTuple):
    x: int
    inner: Any


class Level(IntEnum):
    HIGH = 3


class Colour(str, Enum):  # noqa: UP042 (a StrEnum shows its value when printed)
    """A string whose ``str`` is another text, as with the choices of Django and capa."""

    RED = "red"


class Golden(NamedTuple):
    value: Any
    text: str
    back: Any


def _golden(value: Any, text: str, *back: Any) -> Golden:
    return Golden(value, text, back[0] if back else value)


NAN = float("nan")
BIG = 7 * 10**6000 + 1

GOLDEN: dict[str, Golden] = {
    "string": _golden("text", '"text"'),
    "empty string": _golden("", '""'),
    "non-ASCII text": _golden("Größe 大 🪐", '"Gr\\u00f6\\u00dfe \\u5927 \\ud83e\\ude90"'),
    "null character": _golden("a\x00b", '"a\\u0000b"'),
    "control characters": _golden("\x01\t\r\n\x1f\u2028", '"\\u0001\\t\\r\\n\\u001f\\u2028"'),
    "lone surrogate": _golden("a\ud800b\udfff", '"a\\ud800b\\udfff"'),
    "quotes and backslashes": _golden("\"'`\\%s%%?", '"\\"\'`\\\\%s%%?"'),
    "bytes": _golden("é".encode(), '"\\u00e9"', "é"),
    "string enumeration": _golden(Colour.RED, '"red"', "red"),
    "zero": _golden(0, "0"),
    "negative": _golden(-7, "-7"),
    "integer beyond a float": _golden(2**53 + 1, "9007199254740993"),
    "integer beyond 64 bits": _golden(-(2**80), "-1208925819614629174706176"),
    "integer of 6,001 digits": _golden(BIG, f"7{'0' * 5999}1"),
    "negative integer of 6,001 digits": _golden([-BIG], f"[-7{'0' * 5999}1]"),
    "integer enumeration": _golden(Level.HIGH, "3", 3),
    "true": _golden(True, "true"),
    "false": _golden(False, "false"),
    "null": _golden(None, "null"),
    "whole float": _golden(1.0, "1.0"),
    "negative zero": _golden(-0.0, "-0.0"),
    "fraction": _golden(0.1 + 0.2, "0.30000000000000004"),
    "large float": _golden(1e308, "1e+308"),
    "small float": _golden(5e-324, "5e-324"),
    "not a number": _golden(NAN, "NaN"),
    "infinity": _golden(math.inf, "Infinity"),
    "negative infinity": _golden(-math.inf, "-Infinity"),
    "decimal": _golden(Decimal("1.50"), "1.5", 1.5),
    "whole decimal": _golden(Decimal(12), "12", 12),
    "decimal that is not a number": _golden(Decimal("NaN"), "NaN", NAN),
    "list": _golden([1, [2, []]], "[1,[2,[]]]"),
    "tuple": _golden((1, (2,)), "[1,[2]]", [1, [2]]),
    "dict in its order": _golden({"z": 1, "a": {"y": 2, "b": 3}}, '{"z":1,"a":{"y":2,"b":3}}'),
    "ordered dict": _golden(OrderedDict(z=1, a=2), '{"z":1,"a":2}', {"z": 1, "a": 2}),
    "default dict": _golden(defaultdict(list, a=[1]), '{"a":[1]}', {"a": [1]}),
    "score of capa": _golden(Score(1, 2), '{"raw_earned":1,"raw_possible":2}', {"raw_earned": 1, "raw_possible": 2}),
    "namedtuple in a list": _golden(
        [Score(1, 2)], '[{"raw_earned":1,"raw_possible":2}]', [{"raw_earned": 1, "raw_possible": 2}]
    ),
    "namedtuple in a namedtuple": _golden(
        {"deep": (Point(1, [Point(2, None)]),)},
        '{"deep":[{"x":1,"inner":[{"x":2,"inner":null}]}]}',
        {"deep": [{"x": 1, "inner": [{"x": 2, "inner": None}]}]},
    ),
    "namedtuple around a big integer": _golden(
        Point(1, [BIG, (True, None, "x", 1.5, Score(2, Decimal("0.5")))]),
        f'{{"x":1,"inner":[7{"0" * 5999}1,[true,null,"x",1.5,{{"raw_earned":2,"raw_possible":0.5}}]]}}',
        {"x": 1, "inner": [BIG, [True, None, "x", 1.5, {"raw_earned": 2, "raw_possible": 0.5}]]},
    ),
    "keys that are not strings": _golden(
        {
            7: "int",
            None: "none",
            True: "true",
            2.5: "float",
            Level.HIGH: "enum",
            Decimal("1.10"): "decimal",
            b"k": "bytes",
        },
        '{"7":"int","null":"none","true":"true","2.5":"float","3":"enum","1.10":"decimal","k":"bytes"}',
        {"7": "int", "null": "none", "true": "true", "2.5": "float", "3": "enum", "1.10": "decimal", "k": "bytes"},
    ),
    "nested keys that are not strings": _golden(
        [{"a": {3: {4.0: 5}}}], '[{"a":{"3":{"4.0":5}}}]', [{"a": {"3": {"4.0": 5}}}]
    ),
    "keys that become the same": _golden({1: "a", "1": "b"}, '{"1":"b"}', {"1": "b"}),
    "key that is not a number": _golden({NAN: 1}, '{"NaN":1}', {"NaN": 1}),
    "key with odd characters": _golden({'\x00\ud800"': 1}, '{"\\u0000\\ud800\\"":1}'),
    "empty key": _golden({"": {"": 1}}, '{"":{"":1}}'),
    "long text": _golden("é\U0001f6f0" * 5000, '"' + "\\u00e9\\ud83d\\udef0" * 5000 + '"'),
}


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are the same, down to types and the order of keys; NaN is the same as NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return is_same([*one.items()], [*other.items()])
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return repr(one) == repr(other) if isinstance(one, float) else bool(one == other)

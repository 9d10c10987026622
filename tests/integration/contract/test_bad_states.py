"""Invalid state is refused before any SQL; the error names the block, the field and the path inside it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from xblock.fields import Scope

from tests.factories import make_block
from tests.integration.contract.refusal import Opaque, Refusal, Statements, parametrize_refusals
from xblock_user_state.interface import XBlockUserStateClient

BLOCK = make_block()
CYCLE: dict[str, Any] = {}
CYCLE["inside"] = [CYCLE]
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]

STATES = {
    "state is a list": Refusal(lambda c: c.set("ann", BLOCK, ["a"]), TypeError, (str(BLOCK), "dict", "list")),
    "state is a string": Refusal(lambda c: c.set("ann", BLOCK, "{}"), TypeError, (str(BLOCK), "dict", "str")),
    "state is None": Refusal(lambda c: c.set("ann", BLOCK, None), TypeError, (str(BLOCK), "dict", "NoneType")),
    "states are a list": Refusal(
        lambda c: c.set_many("ann", [(BLOCK, {})]), TypeError, ("block_keys_to_state", "list")
    ),
    "states are None": Refusal(lambda c: c.set_many("ann", None), TypeError, ("block_keys_to_state", "NoneType")),
    "field name is a number": Refusal(
        lambda c: c.set("ann", BLOCK, {1: 1}), TypeError, (str(BLOCK), "string", "1", "int")
    ),
    "field name is None": Refusal(lambda c: c.set("ann", BLOCK, {None: 1}), TypeError, (str(BLOCK), "string", "None")),
    "field name is bytes": Refusal(
        lambda c: c.set("ann", BLOCK, {b"a": 1}), TypeError, (str(BLOCK), "string", "bytes")
    ),
    "value is an object": Refusal(
        lambda c: c.set("ann", BLOCK, {"ok": 1, "bad": Opaque()}),
        TypeError,
        (str(BLOCK), "'bad'", "Opaque"),
    ),
    "value is a set": Refusal(
        lambda c: c.set("ann", BLOCK, {"bad": {1}}), TypeError, (str(BLOCK), "'bad'", "set", "list")
    ),
    "value is a time": Refusal(
        lambda c: c.set("ann", BLOCK, {"bad": datetime.now(UTC)}),
        TypeError,
        (str(BLOCK), "'bad'", "datetime"),
    ),
    "value deep inside": Refusal(
        lambda c: c.set("ann", BLOCK, {"bad": {"x": [0, {"y": (1, Opaque())}]}}),
        TypeError,
        (str(BLOCK), "'bad'", "bad['x'][1]['y'][1]", "Opaque"),
    ),
    "value among many blocks": Refusal(
        lambda c: c.set_many("ann", {make_block("fine"): {"a": 1}, BLOCK: {"bad": [Opaque()]}}),
        TypeError,
        (str(BLOCK), "'bad'", "bad[0]"),
    ),
    "value of a preference": Refusal(
        lambda c: c.set("ann", "video", {"bad": Opaque()}, Scope.preferences),
        TypeError,
        ("video", "'bad'", "Opaque"),
    ),
    "key inside is a tuple": Refusal(
        lambda c: c.set("ann", BLOCK, {"bad": {"x": {(1, 2): 3}}}),
        TypeError,
        (str(BLOCK), "'bad'", "bad['x']", "(1, 2)", "string"),
    ),
    "bytes that are no text": Refusal(
        lambda c: c.set("ann", BLOCK, {"bad": [b"\xff"]}),
        ValueError,
        (str(BLOCK), "'bad'", "bad[0]", "UTF-8"),
    ),
    "value that contains itself": Refusal(
        lambda c: c.set("ann", BLOCK, {"bad": CYCLE}),
        ValueError,
        (str(BLOCK), "'bad'", "bad['inside'][0]", "contains itself"),
    ),
    "value that is too deep": Refusal(
        lambda c: c.set("ann", BLOCK, {"bad": DEEP}),
        ValueError,
        (str(BLOCK), "'bad'", "deep"),
    ),
}


@parametrize_refusals(STATES)
def test_what_is_no_state_is_refused(client: XBlockUserStateClient, statements: Statements, refusal: Refusal) -> None:
    refusal.check(client, statements)


def test_a_call_with_one_bad_value_writes_nothing(client: XBlockUserStateClient) -> None:
    blocks = [make_block(f"block{number}") for number in range(3)]
    client.set("ann", blocks[0], {"a": 1})
    with pytest.raises(TypeError):
        client.set_many("ann", {blocks[0]: {"a": 2}, blocks[1]: {"a": 2}, blocks[2]: {"a": Opaque()}})
    assert [found.state for found in client.get_many("ann", blocks)] == [{"a": 1}]

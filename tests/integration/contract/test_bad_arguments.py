"""Arguments that all methods refuse alike: fields, numbers, usernames, scopes, and a batch's changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from opaque_keys.edx.keys import UsageKey
from xblock.fields import BlockScope, Scope, UserScope

from tests.factories import COURSE, make_block
from tests.integration.contract.refusal import Call, Opaque, Refusal, Statements, parametrize_refusals
from xblock_user_state.interface import XBlockUserStateClient

BLOCK = make_block()
OLD_BLOCK = UsageKey.from_string("i4x://Astro/A101/problem/stars")

FIELDS = {
    "get, a string": Refusal(lambda c: c.get("ann", BLOCK, fields="seen"), TypeError, ("fields", "list", "'seen'")),
    "get_many, a string": Refusal(
        lambda c: list(c.get_many("ann", [BLOCK], fields="seen")),
        TypeError,
        ("fields", "list", "'seen'"),
    ),
    "delete, a string": Refusal(
        lambda c: c.delete("ann", BLOCK, fields="seen"), TypeError, ("fields", "list", "'seen'")
    ),
    "delete_many, a string": Refusal(
        lambda c: c.delete_many("ann", [BLOCK], fields="seen"),
        TypeError,
        ("fields", "list", "'seen'"),
    ),
    "get, a number": Refusal(lambda c: c.get("ann", BLOCK, fields=5), TypeError, ("fields", "list", "5")),
    "get, bytes": Refusal(lambda c: c.get("ann", BLOCK, fields=b"seen"), TypeError, ("fields", "string")),
    "get, names that are numbers": Refusal(
        lambda c: c.get("ann", BLOCK, fields=["a", 1]), TypeError, ("fields", "1", "int")
    ),
    "delete, names that are None": Refusal(
        lambda c: c.delete("ann", BLOCK, fields=[None]), TypeError, ("fields", "None")
    ),
}


def _batch_size(size: object) -> dict[str, Call]:
    return {
        "block": lambda c: next(c.iter_all_for_block(BLOCK, batch_size=size)),
        "course": lambda c: next(c.iter_all_for_course(COURSE, batch_size=size)),
    }


def _source(argument: str, value: object) -> dict[str, Call]:
    source: dict[str, Any] = {argument: value}
    return {
        f"{argument} of a block": lambda c: next(c.iter_all_for_block(BLOCK, **source)),
        f"{argument} of a course": lambda c: next(c.iter_all_for_course(COURSE, **source)),
    }


def _points(points: object) -> dict[str, Call]:
    return {
        "grade": lambda c: c.set_score("ann", BLOCK, points, 2),
        "max_grade": lambda c: c.set_score("ann", BLOCK, 1, points),
    }


def _username(user: object) -> dict[str, Call]:
    return {
        "get": lambda c: c.get(user, BLOCK),
        "get_many": lambda c: list(c.get_many(user, [BLOCK])),
        "get summary": lambda c: c.get(user, BLOCK, Scope.user_state_summary),
        "set": lambda c: c.set(user, BLOCK, {"a": 1}),
        "set summary": lambda c: c.set(user, BLOCK, {"a": 1}, Scope.user_state_summary),
        "delete": lambda c: c.delete(user, BLOCK),
        "get_history": lambda c: next(c.get_history(user, BLOCK)),
        "set_score": lambda c: c.set_score(user, BLOCK, 1, 2),
        "get_scores": lambda c: c.get_scores(user, [BLOCK]),
        "batch": lambda c: c.batch(user).__enter__(),
    }


def _scope(scope: object) -> dict[str, Call]:
    return {
        "get": lambda c: c.get("ann", BLOCK, scope),
        "get_many": lambda c: list(c.get_many("ann", [BLOCK], scope)),
        "set": lambda c: c.set("ann", BLOCK, {"a": 1}, scope),
        "set_many": lambda c: c.set_many("ann", {}, scope),
        "delete": lambda c: c.delete("ann", BLOCK, scope),
        "delete_many": lambda c: c.delete_many("ann", [], scope),
        "get_history": lambda c: next(c.get_history("ann", BLOCK, scope)),
        "iter block": lambda c: next(c.iter_all_for_block(BLOCK, scope)),
        "iter course": lambda c: next(c.iter_all_for_course(COURSE, scope=scope)),
    }


BATCH_SIZES = {
    f"{name} {size!r}": Refusal(call, error, ("batch_size", repr(size)))
    for size, error in (
        (0, ValueError),
        (-1, ValueError),
        (-1000, ValueError),
        (True, TypeError),
        ("10", TypeError),
        (1.5, TypeError),
    )
    for name, call in _batch_size(size).items()
}
SCORES = {
    f"{name} {points!r}": Refusal(call, error, (name,))
    for points, error in (
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (-float("inf"), ValueError),
        (Decimal("NaN"), ValueError),
        (Decimal("sNaN"), ValueError),
        (10**400, ValueError),
        ("1", TypeError),
        (b"1", TypeError),
        (1j, TypeError),
        ([1], TypeError),
        ({}, TypeError),
    )
    for name, call in _points(points).items()
}
SCORES["grade of 5,001 digits"] = Refusal(lambda c: c.set_score("ann", BLOCK, 10**5000, 2), ValueError, ("grade",))
USERNAMES = {
    f"{name} {type(user).__name__}": Refusal(call, TypeError, ("username", "string"))
    for user in (7, b"ann", ["ann"], Opaque())
    for name, call in _username(user).items()
}
SOURCES = {
    f"{name} {value!r}": Refusal(call, error, words)
    for argument, value, error, words in (
        ("using", 5, TypeError, ("using", "alias", "5")),
        ("using", "", TypeError, ("using", "alias")),
        ("at_least", [1], TypeError, ("at_least", "pairs", "list")),
        ("at_least", {BLOCK: 1}, TypeError, ("at_least", "pair")),
        ("at_least", {("ann", BLOCK): "1"}, TypeError, ("at_least", "integer", "'1'")),
        ("at_least", {("ann", BLOCK): -1}, ValueError, ("at_least", "-1")),
        ("at_least", {(7, BLOCK): 1}, TypeError, ("username", "7")),
        ("at_least", {("ann", "stars"): 1}, TypeError, ("stars",)),
    )
    for name, call in _source(argument, value).items()
}
UNSUPPORTED = {
    "content": Scope.content,
    "settings": Scope.settings,
    "children": Scope.children,
    "parent": Scope.parent,
    "one's definition": Scope(UserScope.ONE, BlockScope.DEFINITION),
    "text": "user_state",
    "none": None,
}
SCOPES = {
    f"{name} {scope_name}": Refusal(
        call, ValueError, ("user_state", "preferences", "user_info", "user_state_summary", "not supported")
    )
    for scope_name, scope in UNSUPPORTED.items()
    for name, call in _scope(scope).items()
}
COURSE_SCOPES = {
    scope.name: Refusal(_scope(scope)["iter course"], ValueError, (scope.name, "course"))
    for scope in (Scope.preferences, Scope.user_info)
}


REFUSALS = {
    f"{subject}: {name}": refusal
    for subject, refusals in (
        ("fields", FIELDS),
        ("batch size", BATCH_SIZES),
        ("score", SCORES),
        ("username", USERNAMES),
        ("source", SOURCES),
        ("scope", SCOPES),
        ("scope of a course", COURSE_SCOPES),
    )
    for name, refusal in refusals.items()
}


@parametrize_refusals(REFUSALS)
def test_a_bad_argument_is_refused_before_any_sql(
    client: XBlockUserStateClient, statements: Statements, refusal: Refusal
) -> None:
    refusal.check(client, statements)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda b: b.set(BLOCK, ["a"]), TypeError),
        (lambda b: b.set(BLOCK, {1: 2}), TypeError),
        (lambda b: b.set(BLOCK, {"a": Opaque()}), TypeError),
        (lambda b: b.set(str(BLOCK), {"a": 1}), TypeError),
        (lambda b: b.set(OLD_BLOCK, {"a": 1}), ValueError),
        (lambda b: b.set(BLOCK, {"a": 1}, Scope.settings), ValueError),
        (lambda b: b.set(BLOCK, {"a": 1}, Scope.preferences), TypeError),
        (lambda b: b.delete(BLOCK, "seen"), TypeError),
        (lambda b: b.delete(None), TypeError),
        (lambda b: b.delete(BLOCK, None, Scope.content), ValueError),
        (lambda b: b.set_score(BLOCK, float("nan"), 1), ValueError),
        (lambda b: b.set_score(BLOCK, None, "1"), TypeError),
        (lambda b: b.set_score("problem", 1, 1), TypeError),
    ],
)
def test_a_batch_refuses_bad_input_at_the_call_that_gives_it(
    client: XBlockUserStateClient, statements: Statements, call: Call, error: type[Exception]
) -> None:
    with statements() as seen, client.batch("ann") as batch, pytest.raises(error):
        call(batch)
    assert len(seen) == 0

"""Checks of callers' arguments, before any SQL.

Each raises ``TypeError`` or ``ValueError`` with a message that names the argument, the value and a right kind of value.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

from opaque_keys.edx.keys import BlockTypeKey, LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.interface import UserId
from xblock_user_state.state.change import Change, Condition, Overlay, Removal, Replacement, Score
from xblock_user_state.state.codec import FieldTexts, encode_fields, join
from xblock_user_state.state.keys import LEARNER_SCOPES, RowKey, identify_context, learner_scope, row_key

DEFAULT_BATCH_SIZE = 1000

_NAMES = frozenset((str,))


def checked_scope(scope: object) -> Scope:
    """Return the package's own object for `scope`, so that later checks can compare by identity."""
    supported = learner_scope(scope)
    if supported is not None:
        return supported
    names = ", ".join(each.name for each in LEARNER_SCOPES)
    given = scope.name if isinstance(scope, Scope) else scope
    raise ValueError(f"the scope {given!r} is not supported; supported are {names}")


def checked_username(username: object) -> str | UserId:
    """Return the username, or the user's id; the empty string for an anonymous user (``None``)."""
    if username is None:
        return ""
    if isinstance(username, UserId) and username.id is None:
        raise ValueError("UserId(None) names no user; an anonymous user's username is None")
    if not isinstance(username, str | UserId):
        raise TypeError(f"username must be a string or a UserId, not {username!r} ({type(username).__name__})")
    return username


def row_keys(keys: object, scope: Scope) -> list[tuple[Any, RowKey]]:
    """Return each key once, in the given order, with its row key. Two keys of one block are both kept."""
    pairs: list[tuple[Any, RowKey]] = []
    # By row key, because hashing a usage key takes as long as parsing a small state.
    seen: dict[RowKey, list[Any]] = {}
    for key in _checked_iterable(keys, "block_keys", "keys"):
        row = row_key(key, scope)
        same = seen.get(row)
        if same is None:
            seen[row] = [key]
        elif key in same:
            continue
        else:
            same.append(key)
        pairs.append((key, row))
    return pairs


def rows_of_scopes(rows: object) -> list[tuple[Scope, RowKey]]:
    """Return scope and row key of each item, in the given order."""
    pairs = []
    for item in _checked_iterable(rows, "rows", "pairs of scope and key"):
        if not isinstance(item, tuple) or len(item) != 2:
            raise TypeError(f"rows must have pairs of scope and key, such as (Scope.user_info, None), not {item!r}")
        scope = checked_scope(item[0])
        pairs.append((scope, row_key(item[1], scope)))
    return pairs


def checked_course(key: object) -> LearningContextKey:
    """Return the key of a course or other learning context, if state can be stored under it."""
    if not isinstance(key, LearningContextKey):
        raise TypeError(f"course_key must be a CourseKey or LearningContextKey, not {key!r} ({type(key).__name__})")
    identify_context(key)
    return key


def checked_course_scope(scope: object) -> Scope:
    """Return `scope`, if its state belongs to blocks: only blocks belong to courses."""
    if checked_scope(scope) in (Scope.user_state, Scope.user_state_summary):
        return scope
    raise ValueError(f"{scope} belongs to no course; iterate over user_state or user_state_summary")


def checked_block_type(block_type: object) -> str | None:
    """Return the name of a block type, or ``None`` for all types."""
    if block_type is None or isinstance(block_type, str):
        return block_type
    raise TypeError(f"block_type must be a string, not {block_type!r} ({type(block_type).__name__})")


def checked_fields(fields: object) -> tuple[str, ...] | None:
    """Return the names of fields, or ``None`` for all fields."""
    if fields is None:
        return None
    # A list, because an iterator can be read once only.
    names = _checked_iterable(fields, "fields", "field names")
    for name in names:
        _check_field_name(name, "fields")
    return tuple(names)


def checked_batch_size(batch_size: object) -> int:
    """Return the number of rows that an iteration reads at a time."""
    return checked_count(batch_size, "batch_size") or DEFAULT_BATCH_SIZE


def checked_count(count: object, name: str) -> int | None:
    """Return the count, which is at least 1, or ``None`` if none was given. `name` is the argument's."""
    if count is None:
        return None
    # A bool is an int, and True would count as 1.
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f"{name} must be an integer, not {count!r} ({type(count).__name__})")
    if count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")
    return count


def checked_alias(using: object) -> str | None:
    """Return the alias of a database, or ``None`` if none was given."""
    if using is None or (isinstance(using, str) and using):
        return using
    raise TypeError(f"using must be the alias of a database, not {using!r} ({type(using).__name__})")


class Known(NamedTuple):
    """A revision that a caller knows of."""

    username: str | UserId
    key: RowKey
    revision: int


def known_revisions(at_least: object, scope: Scope) -> list[Known]:
    """Return the revisions that a read must have, or later ones."""
    found = []
    for pair, revision in _items(at_least, "pairs of learner and key", "at_least"):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"at_least must map pairs of learner and key to revisions; {pair!r} is no such pair")
        username, key = pair
        found.append(
            Known(checked_username(username), row_key(key, scope), _checked_revision(revision, key, "at_least"))
        )
    return found


Conditions = dict[tuple[Scope, RowKey], Condition]


def conditions(if_revisions: object, scope: Scope) -> Conditions:
    """Return the conditions of a call in one scope: revisions by key, or ``None`` for no condition."""
    return _conditions((scope, key, revision) for key, revision in _items(if_revisions, "keys"))


def scoped_conditions(if_revisions: object) -> Conditions:
    """Return the conditions of a batch: revisions by scope and key, or ``None`` for no condition."""
    found = []
    for key, revision in _items(if_revisions, "pairs of scope and key"):
        if not isinstance(key, tuple) or len(key) != 2:
            raise TypeError(f"if_revisions must map pairs of scope and key to revisions; {key!r} is no such pair")
        found.append((checked_scope(key[0]), key[1], revision))
    return _conditions(found)


def _items(revisions: object, keys: str, name: str = "if_revisions") -> Iterable[tuple[Any, Any]]:
    if revisions is None:
        return ()
    if not isinstance(revisions, Mapping):
        raise TypeError(f"{name} must map {keys} to revisions, not be {type(revisions).__name__}")
    return revisions.items()


def _conditions(items: Iterable[tuple[Scope, Any, object]]) -> Conditions:
    found: Conditions = {}
    for scope, key, revision in items:
        condition = Condition(key, _checked_revision(revision, key))
        # Two keys may name one block, with and without a branch.
        same = found.setdefault((scope, row_key(key, scope)), condition)
        if same.revision != condition.revision:
            raise ValueError(f"{key} is given two revisions, {same.revision} and {condition.revision}")
    return found


def _checked_revision(revision: object, key: object, name: str = "if_revision") -> int:
    # A bool is an int, and False would mean that the block must be new.
    if not isinstance(revision, int) or isinstance(revision, bool):
        raise TypeError(f"{name} of {key} must be an integer, not {revision!r} ({type(revision).__name__})")
    if revision < 0:
        raise ValueError(f"{name} of {key} must be 0 (for a row that does not exist) or more, not {revision}")
    return revision


def add_conditions(changes: Mapping[Scope, dict[RowKey, Change]], conditions: Conditions) -> None:
    """Add the conditions to the changes of their rows. A condition on a row that does not change is a mistake."""
    for (scope, row), condition in conditions.items():
        if row not in changes.get(scope, {}):
            raise ValueError(f"if_revisions names {condition.block_key} ({scope.name}), which the call does not change")
        changes[scope][row] = replace(changes[scope][row], condition=condition)


def overlays(states: object, scope: Scope) -> dict[RowKey, Change]:
    """Return the changes that set these states. Two keys of one block make one change, in order."""
    if not isinstance(states, Mapping):
        raise TypeError(f"block_keys_to_state must map keys to states, not be {type(states).__name__}")
    changes: dict[RowKey, Change] = {}
    for key, fields in states.items():
        row, change = row_key(key, scope), overlay(key, fields)
        changes[row] = changes[row].then(change) if row in changes else change
    return changes


def overlay(key: object, fields: object) -> Change:
    """Return the change that sets `fields`. It holds their JSON texts, so the caller may change the values later."""
    return Change((Overlay(checked_state(key, fields)),))


def checked_state(key: object, fields: object) -> FieldTexts:
    """Return the JSON texts of a state's fields."""
    if not isinstance(fields, Mapping):
        raise TypeError(f"the state of {key} must be a dict of fields, not {type(fields).__name__}")
    # Runs in C in the usual case. A subclass of str is no plain name, so names are then looked at one by one.
    if not _NAMES.issuperset(map(type, fields)):
        for name in fields:
            _check_field_name(name, f"the state of {key}")
    return encode_fields(fields, key)


def replacement(key: object, fields: object) -> Change:
    """Return the change that makes a state exactly `fields`, or ``None`` for a row without a state."""
    if fields is None:
        return Change((Replacement(None),))
    return Change((Replacement(join(checked_state(key, fields))),))


def removal(fields: object) -> Change:
    """Return the change that removes `fields`, or all fields."""
    names = checked_fields(fields)
    return Change((Removal(None if names is None else frozenset(names)),))


def new_score(grade: object, max_grade: object) -> Change:
    """Return the change that sets a score: finite numbers, or ``None`` for one that is not there."""
    return Change(score=Score(_checked_points(grade, "grade"), _checked_points(max_grade, "max_grade")))


def _checked_points(points: object, name: str) -> float | None:
    if points is None:
        return None
    plain = _plain_number(points, name)
    try:
        number = float(plain)
    # An integer or decimal beyond all floats; a signalling NaN.
    except (OverflowError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        # Shortened, because an integer may have thousands of digits.
        raise ValueError(f"{name} must be a finite number within the range of a float, not {Decimal(plain):.10}")
    return number


def _plain_number(points: object, name: str) -> int | float | Decimal:
    """Return a number of one of Python's own types. Other libraries register theirs as ``Real``, or give an index."""
    if isinstance(points, int | float | Decimal):
        return points
    try:
        return float(points) if isinstance(points, Real) else operator.index(points)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf
    except TypeError:
        # Shortened, because a browser may have sent the value.
        message = f"{name} must be a number, not {reprlib.repr(points)} ({type(points).__name__})"
        raise TypeError(message) from None


def _check_field_name(name: object, where: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{where}: field names must be strings, not {name!r} ({type(name).__name__})")


def _checked_iterable(values: object, name: str, items: str) -> list[Any]:
    # A string is iterable too: "seen" instead of ["seen"] would be four fields.
    if isinstance(values, str | UsageKey | BlockTypeKey) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of {items}, not {values!r} ({type(values).__name__})")
    return list(values)

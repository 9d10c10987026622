"""The learners and blocks that an action is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.access import Action
from xblock_user_state.actions.engine import Selected
from xblock_user_state.actions.order import Order
from xblock_user_state.clients import arguments
from xblock_user_state.history.entries import all_rows
from xblock_user_state.interface import Learner, UserDoesNotExist, UserId
from xblock_user_state.maintenance.paging import learners_of
from xblock_user_state.state.keys import checked_block, context_of, identify_context, parse_block
from xblock_user_state.store.blocks import texts_of
from xblock_user_state.store.databases import state_database, user_database
from xblock_user_state.store.iteration import blocks_of
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import errors_translated
from xblock_user_state.store.users import checked_id, id_of

Where = UsageKey | LearningContextKey | Iterable[UsageKey] | Mapping[Any, Iterable[UsageKey]] | None
"""A block, several blocks, all blocks of a course or library, or (``None``) all blocks in which a learner has state.

A dict from learners to their blocks names both: exactly these states.
"""

Learners = Any
"""A username, a `UserId`, a user, several of these, or (``None``) all learners with state in the blocks."""


@dataclass(frozen=True)
class Selection:
    """Learners by id, in the order in which they are acted on, and the blocks."""

    student_ids: Sequence[Any]
    blocks: Mapping[int, UsageKey] | None
    """By id; ``None`` for all blocks of each learner."""
    has_named_blocks: bool
    """The caller named each block: then a learner without a row is acted on too."""

    def blocks_of(self, student_id: Any) -> Sequence[UsageKey]:
        """Return the blocks of one learner. At most two statements."""
        if self.blocks is not None and self.has_named_blocks:
            return list(self.blocks.values())
        database = state_database()
        rows = all_rows(StudentModule, database).filter(student_id=student_id)
        block_ids = list(rows.order_by("block_id").values_list("block_id", flat=True))
        if self.blocks is not None:
            return [self.blocks[block_id] for block_id in block_ids if block_id in self.blocks]
        return [parse_block(*texts) for texts in texts_of(database, block_ids).values()]


@dataclass(frozen=True)
class Chosen:
    """Learners by id, each with their blocks, as the caller named them."""

    blocks: Mapping[Any, Sequence[UsageKey]]

    @property
    def student_ids(self) -> Sequence[Any]:
        return list(self.blocks)

    def blocks_of(self, student_id: Any) -> Sequence[UsageKey]:
        return self.blocks[student_id]


def selected(order: Order, action: Action, where: Where, learners: Learners) -> Selected:
    """Ask the policy, and return the selection.

    Raises `PermissionDenied` before any statement, and `UserDoesNotExist`, which names all unknown learners.
    """
    if where is None and learners is None:
        raise ValueError("name blocks, a course, or learners")
    if isinstance(where, Mapping):
        if learners is not None:
            raise ValueError("learners must be left out beside a dict of learners and blocks")
        return _chosen(order, action, where)
    named = None if learners is None else _named(learners)
    course = where if isinstance(where, LearningContextKey) else None
    keys = [] if where is None or course is not None else _keys(where)
    _ask(order, action, named, [(context_of(key), key) for key in keys] or [(course, None)])
    database = state_database()
    blocks = {checked_block(key).id: key for key in keys} if keys else None
    with errors_translated(database):
        if course is not None:
            texts = blocks_of(database, identify_context(arguments.checked_course(course)), None)
            blocks = {block_id: parse_block(*found) for block_id, found in texts.items()}
        ids = sorted(learners_of(database, sorted(blocks or ()))) if named is None else _ids(named)
    return Selection(ids, blocks, bool(keys))


def _chosen(order: Order, action: Action, where: Mapping[Any, Iterable[UsageKey]]) -> Chosen:
    keys = {_named([learner])[0]: _keys(blocks) for learner, blocks in where.items()}
    for learner, blocks in keys.items():
        _ask(order, action, [learner], [(context_of(key), key) for key in blocks])
    ids = _ids_by(list(keys))
    chosen: dict[Any, list[UsageKey]] = {}
    for learner, blocks in keys.items():
        chosen.setdefault(ids[learner], []).extend(blocks)
    return Chosen(chosen)


def learner_id(order: Order, learner: Any, *needed: Action) -> Any:
    """Ask the policy about all data of one learner, a username, a `UserId` or a user, and return the id."""
    [named] = _named([learner])
    for action in needed:
        order.ask(action, named, None)
    return _ids([named])[0]


def _keys(where: object) -> list[UsageKey]:
    keys = [where] if isinstance(where, UsageKey) else list(_iterable(where, "where", "keys of blocks"))
    if not keys:
        raise ValueError("where is an empty list of blocks")
    blocks = dict.fromkeys(map(checked_block, keys))
    return [parse_block(block.context_key, block.usage_key) for block in blocks]


def _named(learners: object) -> list[Learner]:
    given = (
        [learners]
        if isinstance(learners, str | UserId) or hasattr(learners, "pk")
        else _iterable(learners, "learners", "names")
    )
    found = [arguments.checked_username(UserId(id_of(one)) if hasattr(one, "pk") else one) for one in given]
    if not all(found):
        raise ValueError("a visitor without a name has no state here")
    # Each once, in the given order.
    return list(dict.fromkeys(found))


def _iterable(values: object, name: str, items: str) -> Iterable[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of {items}, not {values!r} ({type(values).__name__})")
    return values


def _ask(
    order: Order, action: Action, named: Sequence[Learner] | None, places: Sequence[tuple[Any, UsageKey | None]]
) -> None:
    for learner in [None] if named is None else named:
        for context_key, block_key in places:
            order.ask(action, learner, context_key, block_key)


def _ids(named: Sequence[Learner]) -> list[Any]:
    """Return the ids of these learners, each once."""
    return list(dict.fromkeys(_ids_by(named).values()))


def _ids_by(named: Sequence[Learner]) -> dict[Learner, Any]:
    """Return the ids of these learners, in their order. One statement for 10,000 names."""
    model, database = get_user_model(), user_database()
    names = [one for one in named if isinstance(one, str)]
    ids: dict[Learner, Any] = {one: checked_id(one.id) for one in named if isinstance(one, UserId)}
    for some in pieces(database, names):
        users = model._base_manager.using(database).filter(**{f"{model.USERNAME_FIELD}__in": some})
        # MySQL's default collation finds Ann for ann; then ann stays unknown.
        ids |= {name: id_ for id_, name in users.values_list("pk", model.USERNAME_FIELD)}
    unknown = [repr(one) for one in named if one not in ids]
    if unknown:
        raise UserDoesNotExist(f"there is no user {', '.join(unknown[:20])}; nothing was done")
    return {one: ids[one] for one in named}

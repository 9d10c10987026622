"""Exports everything that the package holds of one learner, for requests of data protection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from xblock_user_state.access import Action, Policy
from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.actions.order import Order
from xblock_user_state.actions.selection import learner_id
from xblock_user_state.history.entries import Owner, all_rows
from xblock_user_state.history.reading import entries_of
from xblock_user_state.state import decode, encode
from xblock_user_state.store.blocks import texts_of
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.tables import TABLES, Table
from xblock_user_state.store.transactions import errors_translated
from xblock_user_state.store.users import usernames

Row = Mapping[str, Any]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Data of {name}</title>
<style>body{{font:1rem/1.5 sans-serif;margin:1rem}}td,th{{text-align:left;vertical-align:top;padding:.2rem .6rem}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere;margin:0}}</style></head>
<body><h1>Data of {name}</h1><p>Made on {created} (UTC).</p>{parts}</body></html>
"""


class Export(NamedTuple):
    """All data of a learner, as values that JSON has, by ``learner``, ``states``, ``history`` and ``actions``."""

    id: UUID
    """The id of the call in the action log."""
    data: Mapping[str, Any]

    def json(self) -> str:
        """Return the data as JSON. Python's reader takes it; values that are not numbers are written as ``NaN``."""
        return encode(self.data)

    def html(self) -> SafeString:
        """Return the data as a page for people, with all texts escaped."""
        parts = [_table(name, self.data[name]) for name in ("states", "history", "actions")]
        name = self.data["learner"]["username"] or self.data["learner"]["id"]
        body = format_html_join("", "{}", ((part,) for part in parts))
        return format_html(_PAGE, name=name, created=self.data["created"], parts=body)


def export_learner(learner: Any, *, actor: Any, reason: str, policy: Policy | None = None) -> Export:
    """Return everything that the package holds of a learner: states, scores, history, and actions on them.

    `learner` is a username, a `UserId` or a user. The export is in the action log. A `policy` is asked to read the
    state of the learner and to see the history. The learner's name stands where the learner acted, and no other's.

    Raises `ServiceUnavailable` if the extended history can't be read. The whole export is held in memory.
    """
    order = Order("export_learner", actor, reason, policy)
    student_id = learner_id(order, learner, Action.READ, Action.SEE_HISTORY)
    database = state_database()
    with errors_translated(database):
        states = [row for table in TABLES.values() if table.owned for row in _states(table, student_id)]
        actions = list(LoggedAction.objects.using(database).filter(student_id=student_id).order_by("created"))
        blocks = [row.block_id for row in states if isinstance(row, StudentModule)]
        history = entries_of(Owner(student_id, block_id) for block_id in blocks)
        texts = texts_of(database, {*blocks, *(row.block_id for row in actions if row.block_id is not None)})
        entry = order.entry(student_id=student_id)
        order.log(entry)
    name = usernames([student_id]).get(student_id)
    data = {
        "learner": {"id": str(student_id), "username": name},
        "created": entry.created.isoformat(),
        "states": [_state(row, texts) for row in states],
        "history": [_entry(each, texts, student_id) for each in history],
        "actions": [_action(row, texts) for row in actions],
    }
    return Export(order.id, data)


def _states(table: Table, student_id: Any) -> Iterable[Any]:
    return all_rows(table.model, state_database()).filter(**table.pinned(student_id)).order_by("pk")


def _place(block_id: int | None, texts: Mapping[int, tuple[str, str]]) -> Row:
    context, usage_key = texts.get(block_id or 0, (None, None))
    return {"context": context, "block": usage_key}


def _state(row: Any, texts: Mapping[int, tuple[str, str]]) -> Row:
    is_of_block = isinstance(row, StudentModule)
    return {
        "scope": next(scope.name for scope, table in TABLES.items() if table.model is type(row)),
        **_place(row.block_id if is_of_block else None, texts),
        "block_type": getattr(row, "block_type", None),
        "revision": row.revision,
        "state": _value(row.state),
        "grade": row.grade if is_of_block else None,
        "max_grade": row.max_grade if is_of_block else None,
        "created": row.created.isoformat(),
        "modified": row.modified.isoformat(),
    }


def _entry(entry: Any, texts: Mapping[int, tuple[str, str]], student_id: Any) -> Row:
    return {
        **_place(entry.block_id, texts),
        "revision": entry.revision,
        "created": entry.created.isoformat(),
        "by": {None: None, student_id: "the learner"}.get(entry.actor_id, "another user"),
        "state": f"damaged: {entry.damage}" if entry.damage else _value(entry.state),
        "grade": entry.grade,
        "max_grade": entry.max_grade,
    }


def _action(row: LoggedAction, texts: Mapping[int, tuple[str, str]]) -> Row:
    return {
        **_place(row.block_id, texts),
        "act": row.act,
        "reason": row.reason,
        "created": row.created.isoformat(),
        "revision_before": row.revision_before,
        "revision_after": row.revision_after,
    }


def _value(text: str | None) -> Any:
    """Return the value of a stored text; a text that is no JSON as it is."""
    try:
        return None if text is None else decode(text)
    except ValueError:
        return text


def _table(name: str, rows: Sequence[Row]) -> SafeString:
    if not rows:
        return format_html("<h2>{}</h2><p>None.</p>", name.capitalize())
    head = format_html_join("", "<th scope=col>{}</th>", ((column,) for column in rows[0]))
    lines = format_html_join("", "<tr>{}</tr>", ((_cells(row),) for row in rows))
    return format_html("<h2>{}</h2><table><tr>{}</tr>{}</table>", name.capitalize(), head, lines)


def _cells(row: Row) -> SafeString:
    return format_html_join("", "<td><pre>{}</pre></td>", ((text,) for text in _texts(row)))


def _texts(row: Row) -> Iterator[str]:
    for value in row.values():
        yield "" if value is None else value if isinstance(value, str) else encode(value)

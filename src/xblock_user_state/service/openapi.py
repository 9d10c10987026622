"""The description of the service by OpenAPI. The schemas are those of the messages."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import cleandoc
from typing import Any

import msgspec

from xblock_user_state import wire

_REF = "#/components/schemas/{name}"
CALLS: tuple[type[wire.Call], ...] = (
    wire.ReadRows,
    wire.ReadScores,
    wire.ReadHistory,
    wire.ReadLatest,
    wire.FindBlocks,
    wire.Write,
    wire.IterateBlock,
    wire.IterateCourse,
    wire.ExportHistory,
)
_ANSWERS = (wire.Rows, wire.Scores, wire.Entries, wire.FoundRows, wire.FoundKeys, wire.StoredRow, wire.Problem)
_LINES = (wire.StateLine, wire.EntryLine, wire.ResumeLine, wire.EndLine, wire.ProblemLine)
_LINES_TEXT = "Lines of StateLine or EntryLine, with some of ResumeLine; EndLine, or ProblemLine, is the last one."
_STATE = {
    "description": "The fields of the state as an object; a state that JSON can't hold as a string with its text.",
    "type": ["object", "string", "null"],
}
_TIMEOUT = {wire.TIMEOUT: "The milliseconds that the caller still waits; the request is not begun after them."}
_KEY = {wire.IDEMPOTENCY_KEY: "A name for the write: repeated within a day it is done once."}
_READ = {"If-None-Match": "The entity tag that the caller has."}
_WRITE = {
    "If-Match": "The entity tag that the state must have.",
    "If-None-Match": "An asterisk, if the state must not exist yet.",
}


def components() -> dict[str, Any]:
    """Return the schemas of all messages by name."""
    _, found = msgspec.json.schema_components([*CALLS, *_ANSWERS, *_LINES], ref_template=_REF)
    # Before Python 3.13 a docstring has the indentation of its place.
    return {name: {**schema, "description": cleandoc(schema["description"])} for name, schema in found.items()}


def of_call(kind: type[wire.Call]) -> dict[str, Any]:
    """Return the description of a call's body and answers."""
    if kind.answer is wire.Line:
        answer = {
            wire.LINES: {
                "schema": {"type": "string", "description": "Lines: StateLine or EntryLine, ResumeLine, EndLine."}
            }
        }
    else:
        answer = {wire.JSON: {"schema": _ref(kind.answer)}}
    return {
        "parameters": _parameters({**_TIMEOUT, **(_KEY if kind is wire.Write else {})}),
        "requestBody": {"required": True, "content": {wire.JSON: {"schema": _ref(kind)}}},
        "responses": {200: {"description": "OK", "content": answer}, **_problems()},
    }


def of_resource(*, writes: bool = True, body: bool = False) -> dict[str, Any]:
    """Return the description of a method of a state's resource."""
    row = {"description": "OK", "content": {wire.JSON: {"schema": _ref(wire.StoredRow)}}}
    others = {204: {"description": "There is no row"}, 304: {"description": "The caller has this revision"}}
    found: dict[str, Any] = {
        "parameters": _parameters({**_TIMEOUT, **({**_KEY, **_WRITE} if writes else _READ)}),
        "responses": {200: row, **others, **_problems()},
    }
    if body:
        found["requestBody"] = {"required": True, "content": {wire.JSON: {"schema": _STATE}}}
    return found


def _ref(kind: Any) -> dict[str, Any]:
    return {"$ref": _REF.format(name=kind.__name__)}


def _problems() -> Mapping[Any, Any]:
    return {"default": {"description": "A problem", "content": {wire.PROBLEM: {"schema": _ref(wire.Problem)}}}}


def _parameters(headers: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"in": "header", "name": name, "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in headers.items()
    ]

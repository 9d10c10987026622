"""One state as a resource, with the revision as its entity tag: for browsers, curl and other languages."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from msgspec import Raw
from ninja import Query, Router, Schema
from pydantic import Field
from xblock.fields import Scope

from xblock_user_state import wire
from xblock_user_state.clients.batch import ChangeSet
from xblock_user_state.interface import BlockKey, DoesNotExist, Learner, UserId
from xblock_user_state.service import exchange, openapi
from xblock_user_state.state.change import damaged_state, is_state
from xblock_user_state.state.codec import NotAState, check_state
from xblock_user_state.state.keys import row_key

router = Router()


class Where(Schema):
    """The place of a state."""

    learner: str | None = Field(None, description="The username.")
    learner_id: str | None = Field(None, description="The id of the user, in place of the username.")
    scope: str = Field("user_state", description="user_state, user_state_summary, preferences or user_info.")
    key: str | None = Field(None, description="A usage key, or a block type for preferences; none for user_info.")
    course: str | None = Field(None, description="The course run of an old-style key (i4x://…).")

    def unpack(self, query: QueryDict) -> tuple[Learner, Scope, BlockKey]:
        """Return learner, scope and key for a client.

        Raises ``ValueError`` for a query without a learner, or with a parameter that is unknown or given twice: the
        caller may mean another place.
        """
        for name, given in query.lists():
            if name not in type(self).model_fields:
                known = ", ".join(type(self).model_fields)
                raise ValueError(f"the query has {name[:30]!r}; its parameters are {known}")
            if len(given) > 1 and name != "field":
                raise ValueError(f"the query has {name} {len(given)} times")
        learner = self.learner if self.learner_id is None else UserId(self.learner_id)
        scope, key = wire.Address(scope=self.scope, key=self.key, course=self.course).unpack()
        if learner is None and scope is not Scope.user_state_summary:
            # The client would take it for the state of nobody.
            raise ValueError("the query needs learner, or learner_id")
        return learner, scope, key


class WhereFields(Where):
    """The place of a state, and names of its fields."""

    field: list[str] = Field([], description="A field to remove; may be repeated. Without any, all are removed.")


@router.get("/state", operation_id="GetState", summary="Read a state", openapi_extra=openapi.of_resource(writes=False))
def get_state(request: HttpRequest, where: Query[Where]) -> HttpResponse:
    """Answer the state with its revision as the entity tag; 304 if the caller has it."""
    client, _ = exchange.client_and_body(request)
    learner, scope, key = where.unpack(request.GET)
    [row] = client.read_rows(learner, [(scope, key)])
    if row is None or not is_state(row.text):
        error = DoesNotExist(f"{learner!r} has no state in {key} ({scope.name})")
        error.revision = row.revision if row else 0
        raise error
    try:
        check_state(row.text)
    except NotAState as damage:
        raise damaged_state(learner, key, scope, damage) from damage
    held = request.headers.get("If-None-Match")
    if held and wire.revision_of(held) == row.revision:
        unchanged = HttpResponse(status=304)
        unchanged["ETag"] = wire.etag(row.revision)
        return unchanged
    return exchange.answer(wire.StoredRow.of(row), row.revision)


@router.put("/state", operation_id="PutState", summary="Replace a state", openapi_extra=openapi.of_resource(body=True))
def put_state(request: HttpRequest, where: Query[Where]) -> HttpResponse:
    """Make the state exactly the body; null leaves a row without a state."""
    return _written(request, where, lambda batch, key, scope, body: batch.replace(key, _state(body), scope))


@router.patch("/state", operation_id="PatchState", summary="Set fields", openapi_extra=openapi.of_resource(body=True))
def patch_state(request: HttpRequest, where: Query[Where]) -> HttpResponse:
    """Overlay the fields of the body; other fields are kept."""
    return _written(request, where, lambda batch, key, scope, body: batch.set(key, _state(body), scope))


@router.delete("/state", operation_id="DeleteState", summary="Remove fields", openapi_extra=openapi.of_resource())
def delete_state(request: HttpRequest, where: Query[WhereFields]) -> HttpResponse:
    """Remove the named fields, or all. This is a change: history is kept."""
    fields = where.field or None
    return _written(request, where, lambda batch, key, scope, _: batch.delete(key, fields, scope))


def _written(request: HttpRequest, where: Where, change: Any) -> HttpResponse:
    client, body = exchange.client_and_body(request)
    learner, scope, key = where.unpack(request.GET)
    revision = _condition(request)
    batch: ChangeSet
    with client.batch(learner, if_revisions=None if revision is None else {(scope, key): revision}) as batch:
        change(batch, key, scope, body)
    row = batch.written.get(scope, {}).get(row_key(key, scope))
    if row is None:
        return HttpResponse(status=204)
    return exchange.answer(wire.StoredRow.of(row, with_state=False), row.revision)


def _state(body: bytes) -> Any:
    return wire.unpack_state(wire.decode(Raw, body))


def _condition(request: HttpRequest) -> int | None:
    """Return the revision that the state must have; 0 for one that must not exist yet."""
    match, none_match = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if match is not None and none_match is not None:
        raise ValueError("give If-Match or If-None-Match, not both")
    if none_match is not None:
        if none_match.strip() != "*":
            raise ValueError('If-None-Match of a write must be "*": the state must not exist yet')
        return 0
    return None if match is None else wire.revision_of(match)

"""The API: each call of the contract is a POST, and one state is a resource."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from xblock_user_state import wire
from xblock_user_state.service import calls, exchange, exports, openapi, problems, resource, streams

NAMESPACE = "xblock_user_state_service"


class _Api(NinjaAPI):
    """Ninja's routes and description. The messages are `wire`'s: nothing looks into the states in them."""

    def get_openapi_schema(self, **options: Any) -> Any:
        found = super().get_openapi_schema(**options)
        found["components"]["schemas"].update(openapi.components())
        return found


api = _Api(
    title="XBlock user state",
    version=wire.VERSION,
    description="The state, scores and history of learners in XBlocks.",
    urls_namespace=NAMESPACE,
    openapi_url=f"/{wire.VERSION}/openapi.json",
    docs_url=None,
)
api.add_router(f"/{wire.VERSION}", resource.router)
for kind_of_error in (Exception, Http404, HttpError, ValidationError):
    # Its type says that a handler may get a class of errors, too.
    api.add_exception_handler(kind_of_error, cast("Any", problems.answer_to))


def _add(kind: type[wire.Call], operation: Callable[[HttpRequest], HttpResponseBase], summary: str) -> None:
    path, described = f"/{wire.VERSION}/{kind.path}", openapi.of_call(kind)
    api.post(
        path, operation_id=kind.__name__, summary=summary, description=inspect.getdoc(kind), openapi_extra=described
    )(operation)


def _add_call(kind: type[wire.Call], run: Callable[[Any, Any], Any], summary: str) -> None:
    def operation(request: HttpRequest) -> HttpResponseBase:
        client, body = exchange.client_and_body(request)
        return exchange.answer(run(client, wire.decode(kind, body)))

    _add(kind, operation, summary)


def _add_stream(kind: type[wire.Call], run: Callable[[Any, Any], Iterator[Any]], summary: str) -> None:
    def operation(request: HttpRequest) -> HttpResponseBase:
        client, body = exchange.client_and_body(request)
        lines = run(client, wire.decode(kind, body))
        return exchange.stream(request, streams.chunks(lines, partial(problems.reported, request)))

    _add(kind, operation, summary)


_add_call(wire.ReadRows, calls.read_rows, "Read rows of a learner")
_add_call(wire.ReadScores, calls.read_scores, "Read scores of a learner")
_add_call(wire.ReadHistory, calls.read_history, "Read a page of a history")
_add_call(wire.ReadLatest, calls.read_latest, "Read the states that a learner changed last")
_add_call(wire.FindBlocks, calls.find_blocks, "Find registered blocks")
_add_call(wire.Write, calls.write, "Write rows of a learner")
_add_stream(wire.IterateBlock, streams.iterate_block, "Iterate over the learners of a block")
_add_stream(wire.IterateCourse, streams.iterate_course, "Iterate over the learners and blocks of a course")
_add_stream(wire.ExportHistory, exports.export_history, "Export the history of a learner or a course")

"""Answers for errors: each is a problem by RFC 9457."""

from __future__ import annotations

import logging

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import Error as DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils.log import log_response
from ninja.errors import HttpError, ValidationError

from xblock_user_state import wire
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.service.callers import NotAuthenticated
from xblock_user_state.service.throttling import TooManyRequests
from xblock_user_state.store.once import KeyReused

_LOG = logging.getLogger("xblock_user_state.service")
_RETRY_SECONDS = "1"
_CODES = {NotAuthenticated: "Unauthorized", TooManyRequests: "TooManyRequests", KeyReused: "KeyReused"}


class Refusal(Exception):
    """The service itself refuses a request, by one of the codes of `wire.KINDS`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def answer_to(request: HttpRequest, error: Exception) -> HttpResponse:
    """Return the answer to a request that has raised an error."""
    answer = as_answer(reported(request, error))
    if isinstance(error, TooManyRequests):
        answer["Retry-After"] = str(error.retry_after)
    return answer


def reported(request: HttpRequest, error: Exception) -> wire.Problem:
    """Return the problem of an error. One of the service itself is logged."""
    problem = problem_of(request, error)
    if problem.code == "InternalError":
        # As Django does for an error of a view: hosts' tools listen here.
        failed = as_answer(problem)
        log_response("Internal Server Error: %s", request.path, response=failed, request=request, exception=error)
        got_request_exception.send(sender=None, request=request)
    elif _is_of_the_database(error):
        _LOG.warning("%s", error)
    else:
        # A mistake of ours may look like one of the caller's.
        _LOG.debug("refused by %s", problem.code, exc_info=error)
    return problem


def problem_of(request: HttpRequest, error: Exception) -> wire.Problem:
    """Return the problem of any error. An error of nobody's making tells nothing of itself."""
    if isinstance(error, Refusal):
        return wire.problem(error.code, str(error))
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return wire.problem(code, str(error))
    if _is_of_the_database(error):
        return wire.problem(
            "ServiceUnavailable", "the database can't be reached, or kept failing; the service's log says why"
        )
    return wire.problem_of(error) or _problem_of_frame(error)


def _is_of_the_database(error: Exception) -> bool:
    """Tell whether an error has a driver's words, which name hosts and accounts."""
    return isinstance(error, ServiceUnavailable) and isinstance(error.__cause__, DatabaseError)


def _problem_of_frame(error: Exception) -> wire.Problem:
    """Return the problem of an error of Django or of Ninja."""
    if isinstance(error, Http404):
        return unknown_path("")
    if isinstance(error, ValidationError):
        found = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors)
        return wire.problem("ValueError", found)
    if isinstance(error, HttpError):
        kinds = (kind for kind in wire.KINDS.values() if kind.status == error.status_code)
        return wire.problem(next(kinds, wire.KINDS["InternalError"]).code, str(error))
    if isinstance(error, BadRequest | SuspiciousOperation | UnreadablePostError):
        return wire.problem("DamagedMessage", "the request is malformed, or was cut")
    return wire.problem("InternalError", "the service has failed; its log says why")


def unknown_path(path: str) -> wire.Problem:
    """Return the problem of a path that no call has."""
    version = path.strip("/").partition("/")[0]
    if version[:1] == "v" and version[1:].isdigit() and version != wire.VERSION:
        return wire.problem("UnknownVersion", f"this service has no version {version}; it has {wire.VERSION}")
    return wire.problem("UnknownPath", f"no call of the service has the path {path[:100]!r} below its mount")


def as_answer(problem: wire.Problem) -> HttpResponse:
    """Return a problem as an answer, with the headers of its kind."""
    answer = HttpResponse(wire.encode(problem), content_type=wire.PROBLEM, status=problem.status)
    if problem.code == "Unauthorized":
        answer["WWW-Authenticate"] = "Bearer"
    if problem.code == "ServiceUnavailable":
        answer["Retry-After"] = _RETRY_SECONDS
    if problem.revision:
        answer["ETag"] = wire.etag(problem.revision)
    return answer


def not_allowed(answer: HttpResponseBase) -> HttpResponse:
    """Return the answer to a method that a path does not have; `answer` is Django's."""
    allowed = answer["Allow"]
    problem = as_answer(wire.problem("MethodNotAllowed", f"this path has {allowed}"))
    problem["Allow"] = allowed
    return problem

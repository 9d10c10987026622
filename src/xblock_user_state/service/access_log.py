"""The access log: one line for each request, and its metrics.

A line has the request's id, actor, acts, contexts, endpoint, status and duration. It has no learner, no state, no path
and no header, so no token either. The questions to the policy tell acts and contexts.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from time import perf_counter
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from opaque_keys.edx.keys import LearningContextKey

from xblock_user_state.access import Action, Policy
from xblock_user_state.interface import BlockKey, Learner
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count, elapsed, record
from xblock_user_state.state.keys import has_run

_LOG = logging.getLogger("xblock_user_state.service")
_ATTRIBUTE = "_xblock_user_state_access"
_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_SHOWN_CONTEXTS = 3

View = Callable[..., HttpResponseBase]


class Access:
    """Notes of a request for the log."""

    def __init__(self, request: HttpRequest) -> None:
        given = request.headers.get("X-Request-ID", "")
        # Another text could forge lines of the log.
        self.request_id = given if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
        self.since = perf_counter()
        self.actor: str | None = None
        self._acts: dict[Action, None] = {}
        self._contexts: dict[LearningContextKey | None, None] = {}
        self._newest: tuple[Action, LearningContextKey | None] | None = None

    def noting(self, policy: Policy) -> Policy:
        """Return a policy that answers as `policy` does, and notes acts and contexts."""
        return _Noting(self, policy)

    def note(self, action: Action, context_key: LearningContextKey | None) -> None:
        """Note a question to the policy."""
        newest = self._newest
        # A call asks once for each block, and hashing a key takes longer than this comparison.
        if newest is not None and newest[0] is action and newest[1] is context_key:
            return
        self._newest = action, context_key
        self._acts[action] = None
        self._contexts[context_key] = None

    @property
    def acts(self) -> str:
        """The acts that the policy was asked for."""
        return ",".join(self._acts) or "-"

    @property
    def contexts(self) -> str:
        """Some of the contexts that the policy was asked for, and the number of the others."""
        keys = [_text_of(key) for key in self._contexts if key is not None]
        more = [f"+{len(keys) - _SHOWN_CONTEXTS}"] if len(keys) > _SHOWN_CONTEXTS else []
        return ",".join(keys[:_SHOWN_CONTEXTS] + more) or "-"


def _text_of(key: Any) -> str:
    # A search may name a course without its run, whose key has no text.
    return str(key) if has_run(key) else f"{key.org}/{key.course}"


class _Noting(NamedTuple):
    access: Access
    policy: Policy

    def may(
        self,
        actor: Any,
        action: Action,
        username: Learner,
        context_key: LearningContextKey | None,
        block_key: BlockKey,
    ) -> bool:
        self.access.note(action, context_key)
        return self.policy.may(actor, action, username, context_key, block_key)


def access_of(request: HttpRequest) -> Access:
    """Return the notes of a request, which begin with the first call."""
    found: Access | None = getattr(request, _ATTRIBUTE, None)
    if found is None:
        found = Access(request)
        setattr(request, _ATTRIBUTE, found)
    return found


def logged(view: View, endpoint: str) -> View:
    """Log each request of a view, and give its answer the header ``X-Request-ID``. A stream is logged at its end."""

    @wraps(view)
    def logged_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        access = access_of(request)
        try:
            response = view(request, *args, **kwargs)
        except BaseException:
            _report(access, endpoint, "500")
            raise
        response.headers["X-Request-ID"] = access.request_id
        status = str(response.status_code)
        if isinstance(response, StreamingHttpResponse):
            parts = _AsyncParts if response.is_async else _Parts
            response.streaming_content = parts(response.streaming_content, access, endpoint, status)
        else:
            _report(access, endpoint, status)
        return response

    return logged_view


class _Content:
    """The content of a stream. Django closes it at its end, and also if the caller leaves before."""

    def __init__(self, content: Any, access: Access, endpoint: str, status: str) -> None:
        self._content = content
        self._access, self._endpoint, self._status = access, endpoint, status
        self._outcome = f"{status}-cut"

    def close(self) -> None:
        _report(self._access, self._endpoint, self._outcome)


class _Parts(_Content):
    def __iter__(self) -> Iterator[Any]:
        yield from self._content
        self._outcome = self._status


class _AsyncParts(_Content):
    async def __aiter__(self) -> AsyncIterator[Any]:
        async for part in self._content:
            yield part
        self._outcome = self._status


def _report(access: Access, endpoint: str, outcome: str) -> None:
    milliseconds = elapsed(access.since)
    count(names.SERVICE_REQUESTS, 1, endpoint, outcome)
    record(names.SERVICE_RESPONSE_TIME, milliseconds, endpoint)
    _LOG.info(
        "request=%s actor=%s act=%s context=%s endpoint=%s outcome=%s ms=%.1f",
        access.request_id,
        # repr: a host may allow names with white space.
        "-" if access.actor is None else repr(access.actor),
        access.acts,
        access.contexts,
        endpoint,
        outcome,
        milliseconds,
    )

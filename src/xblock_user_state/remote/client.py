"""The client of the HTTP service."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, Self, TypeVar
from uuid import uuid4

import msgspec
from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state import wire
from xblock_user_state.clients.base import (
    CheckedClient,
    LearnerRow,
    RecordedState,
    Source,
    refuse_anonymous,
)
from xblock_user_state.interface import BlockScore, PermissionDenied, ServiceUnavailable, UserId
from xblock_user_state.metrics import names
from xblock_user_state.metrics.reporter import Reporter
from xblock_user_state.metrics.sink import MetricsSink
from xblock_user_state.remote.breaker import Breaker, Listener, State
from xblock_user_state.remote.stream import Resume, state_lines
from xblock_user_state.remote.transport import Answer, Failure, Limits, Network, Request, Token, Transport, checked_url
from xblock_user_state.state.change import Changes, Row, WrittenRows
from xblock_user_state.state.keys import BlockId, RowKey, is_storable

_LOG = logging.getLogger("xblock_user_state.remote")

Message = TypeVar("Message")
Iteration = wire.IterateBlock | wire.IterateCourse


class RemoteXBlockUserStateClient(CheckedClient):
    """Keeps learner state in a service over HTTP (`xblock_user_state.service`). Needs no Django.

    Make one for each service and token, and keep it: it holds a pool of connections. Threads may share it. After a
    ``fork`` the child opens connections of its own.

    Each method is one request; `get_history` one for a page of entries, an iteration one for as long as the connection
    holds. A request without an answer is repeated, as are answers with the statuses 429, 502, 503 and 504: a write too,
    because the service does a write once, however often it gets it. `ServiceUnavailable` is raised when the limits are
    reached, and at once while the breaker is open. After `ServiceUnavailable` a write may be committed or not.

    The service asks its policy with the actor of the token: a refusal is `PermissionDenied`, as is a token that the
    service does not accept.
    """

    def __init__(  # noqa: PLR0913
        self,
        base_url: str,
        token: Token,
        *,
        limits: Limits = Limits(),  # noqa: B008 (immutable)
        listeners: Iterable[Listener] = (),
        metrics: MetricsSink | None = None,
        ssl_context: ssl.SSLContext | None = None,
        network: Network | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`base_url` is the place where the host has mounted the service, such as ``https://lms.example.org/state/``.

        `token` is a token, or a function that returns one; each attempt of a request calls it.

        `listeners` hear of the breaker's changes. `metrics` is a sink. `ssl_context` is for a service whose certificate
        the system does not know. `network` is a transport of httpx2 in the place of the network, such as one that calls
        the service as a WSGI application, in tests.
        """
        reporter = Reporter(metrics) if metrics else None
        self._transport = Transport(
            checked_url(base_url),
            token,
            limits,
            (*listeners, partial(_report_change, reporter)),
            reporter,
            ssl_context,
            network,
            clock,
        )

    @property
    def breaker(self) -> Breaker:
        """The circuit breaker of this process."""
        return self._transport.breaker

    def within(self, seconds: float) -> Self:
        """Return a client whose calls wait so many seconds at most, over the same connections.

        An attempt has the same share of the time as before.
        """
        limits = self._transport.limits
        return self._with(limits=replace(limits, total=seconds, attempt=limits.attempt * seconds / limits.total))

    def acting_as(self, token: Token) -> Self:
        """Return a client with another token, over the same connections: for a host that has a token for each user."""
        return self._with(token=token)

    def _with(self, **changes: Any) -> Self:
        client = copy(self)
        client._transport = replace(self._transport, **changes)  # noqa: SLF001 (its own class)
        return client

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, username: str | UserId, keys: Sequence[RowKey], scope: Scope) -> Mapping[RowKey, Row]:
        return self._rows_of_scopes(username, {scope: keys}).get(scope, {})

    def _rows_of_scopes(
        self, username: str | UserId, keys: Mapping[Scope, Sequence[RowKey]]
    ) -> Mapping[Scope, Mapping[RowKey, Row]]:
        """Read the rows of all scopes by one request."""
        # Each row once: two keys of a caller may name one block.
        asked = list(dict.fromkeys((scope, key) for scope, of_scope in keys.items() for key in of_scope))
        found: dict[Scope, dict[RowKey, Row]] = {scope: {} for scope in keys}
        if asked:
            call = wire.ReadRows(learner=wire.pack_learner(username), rows=[wire.Address.of(*each) for each in asked])
            for (scope, key), row in zip(asked, self._answer(call, wire.Rows).rows, strict=True):
                if row is not None:
                    found[scope][key] = row.row()
        return found

    def _scores(self, username: str | UserId, keys: Sequence[RowKey]) -> Mapping[RowKey, BlockScore]:
        if not keys:
            return {}
        addresses = [wire.Address.of(Scope.user_state, key) for key in keys]
        call = wire.ReadScores(learner=wire.pack_learner(username), rows=addresses)
        scores = self._answer(call, wire.Scores).scores
        return {key: score.score() for key, score in zip(keys, scores, strict=True) if score is not None}

    def _history(
        self, username: str | UserId, block: BlockId, limit: int | None, before_revision: int | None
    ) -> Iterator[RecordedState]:
        learner, row = wire.pack_learner(username), wire.Address.of(Scope.user_state, block)
        while True:
            call = wire.ReadHistory(learner=learner, row=row, limit=limit, before_revision=before_revision)
            page = self._answer(call, wire.Entries)
            for entry in page.entries:
                yield RecordedState(
                    entry.revision,
                    entry.state_or_damage(),
                    entry.updated,
                    entry.score(),
                    entry.actor,
                    entry.archived,
                )
                before_revision = entry.revision
            limit = None if limit is None else limit - len(page.entries)
            if not page.more or not page.entries or limit == 0:
                return

    def _all_of_block(self, key: RowKey, scope: Scope, batch_size: int, source: Source) -> Iterator[LearnerRow]:
        row = wire.Address.of(scope, key)
        known = _known(scope, source)
        return self._iterated(wire.IterateBlock(row=row, batch_size=batch_size, using=source.using, at_least=known))

    def _all_of_course(
        self, course_key: LearningContextKey, block_type: str | None, scope: Scope, batch_size: int, source: Source
    ) -> Iterator[LearnerRow]:
        if block_type is not None and not is_storable(block_type):
            # No text of JSON, and no block's type.
            return iter(())
        call = wire.IterateCourse(
            course=str(course_key),
            block_type=block_type,
            scope=scope.name,
            batch_size=batch_size,
            using=source.using,
            at_least=_known(scope, source),
        )
        return self._iterated(call)

    def _iterated(self, call: Iteration) -> Iterator[LearnerRow]:
        def request_from(resume: Resume) -> Request:
            return _request(msgspec.structs.replace(call, resume=resume))

        try:
            for line in state_lines(self._transport, request_from):
                _, key = line.unpack()
                learner = wire.unpack_learner(line.learner)
                name = learner if isinstance(learner, str) else None
                yield LearnerRow(name, key, wire.unpack_json(line.state), line.updated, line.revision)
        except Failure as failure:
            raise _error_of(failure) from failure

    def _find_blocks(self, text: str) -> Iterable[UsageKey]:
        for block in self._answer(wire.FindBlocks(key=text), wire.FoundKeys).blocks:
            _, key = block.unpack()
            if isinstance(key, UsageKey):
                yield key

    def _latest(
        self, username: str | UserId, limit: int, course_key: LearningContextKey | None
    ) -> Iterator[LearnerRow]:
        course = None if course_key is None else str(course_key)
        call = wire.ReadLatest(learner=wire.pack_learner(username), limit=limit, course=course)
        for found in self._answer(call, wire.FoundRows).rows:
            _, key = found.unpack()
            yield LearnerRow(None, key, wire.unpack_json(found.state), found.updated, found.revision)

    def _write(self, username: str | UserId, changes: Changes, operation: str) -> WrittenRows:
        refuse_anonymous(username, changes)
        call = wire.Write.of(username, changes)
        headers = {wire.IDEMPOTENCY_KEY: uuid4().hex}
        return call.written(self._answer(call, wire.Rows, headers, changes))

    def _answer(
        self,
        call: wire.Call,
        kind: type[Message],
        headers: Mapping[str, str] = {},
        changes: Changes | None = None,
    ) -> Message:
        """Send a call; return its answer. Raises the contract's errors."""
        try:
            answer = self._transport.call(_request(call, headers))
        except Failure as failure:
            raise _error_of(failure, changes) from failure
        try:
            return wire.decode(kind, answer.body)
        except wire.DamagedMessage as error:
            raise ServiceUnavailable(f"{self._transport.base_url} is no service of learner state: {error}") from error


def _request(call: wire.Call, headers: Mapping[str, str] = {}) -> Request:
    return Request(call.path, wire.encode(call), headers)


def _known(scope: Scope, source: Source) -> list[wire.KnownRow]:
    return [
        wire.KnownRow.of(scope, each.key, learner=wire.pack_learner(each.username), revision=each.revision)
        for each in source.known
    ]


def _error_of(failure: Failure, changes: Changes | None = None) -> Exception:
    """Return the contract's error of an answer that is no success."""
    answer = failure.answer or Answer(0, {}, b"")
    try:
        problem: wire.Problem = wire.decode(wire.Problem, answer.body)
    # The answer of a proxy on the way, or of another site.
    except wire.DamagedMessage:
        kind = PermissionDenied if answer.status in (401, 403) else ServiceUnavailable
        return kind(f"{failure} and content that is not the service's; is this the address of its mount?")
    return wire.error_of(problem, changes)


def _report_change(reporter: Reporter | None, _: State, after: State) -> None:
    if after is State.OPEN:
        _LOG.warning("the service of learner state fails: it is asked again in some seconds")
    elif after is State.CLOSED:
        _LOG.warning("the service of learner state answers again")
    if reporter:
        reporter.count(names.REMOTE_BREAKER, 1, after)

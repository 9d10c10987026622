"""Streamed answers: the lines of an iteration, over any number of cut connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from xblock_user_state import wire
from xblock_user_state.remote.transport import Answer, Body, Deadline, Failure, Request, Transport

Resume = str | None
"""The place to go on from, as the service has named it; ``None`` for the beginning."""


def state_lines(transport: Transport, request_from: Callable[[Resume], Request]) -> Iterator[wire.StateLine]:
    """Yield the states of a stream, each once. The limits of `transport` count anew for each part of it.

    Holds the states of one part: those before the next place to go on from. A caller gets a part once it is complete,
    because after a cut the service sends the whole part again.
    """
    stream = _Stream(transport, request_from)
    try:
        while not stream.is_complete:
            yield from stream.next_part()
    finally:
        stream.close()


class _Stream:
    def __init__(self, transport: Transport, request_from: Callable[[Resume], Request]) -> None:
        self._transport = transport
        self._request_from = request_from
        self._resume: Resume = None
        self._body: Body | None = None
        self._begun = b""
        self._lines: Iterator[bytes] = iter(())
        self.is_complete = False

    def next_part(self) -> list[wire.StateLine]:
        """Return the next part. Raises as `Transport.call` does."""
        transport, limits = self._transport, self._transport.limits
        deadline = transport.deadline()
        path = self._request_from(self._resume).path
        return transport.repeated(lambda: self._attempt(deadline.of_attempt(limits.attempt)), path, deadline)

    def close(self) -> None:
        """Close the connection."""
        if self._body is not None:
            self._body.close()
        self._body, self._begun, self._lines = None, b"", iter(())

    def _attempt(self, until: Deadline) -> list[wire.StateLine]:
        if self._body is None:
            self._body = self._transport.open(self._request_from(self._resume), until)
        try:
            return self._read(self._body, until)
        # What has arrived of this part is worth nothing: the next attempt gets all of it.
        except Failure:
            self.close()
            raise

    def _read(self, body: Body, until: Deadline) -> list[wire.StateLine]:
        part: list[wire.StateLine] = []
        while True:
            for each in self._lines:
                line = _decoded(each)
                if isinstance(line, wire.StateLine):
                    part.append(line)
                elif isinstance(line, wire.ProblemLine):
                    # As if it were the answer: the service may be well again in a moment.
                    raise Failure("the stream has ended", Answer(line.problem.status, {}, wire.encode(line.problem)))
                else:
                    self.is_complete = isinstance(line, wire.EndLine)
                    self._resume = line.resume if isinstance(line, wire.ResumeLine) else None
                    return part
            self._lines = self._arrived(body, until)

    def _arrived(self, body: Body, until: Deadline) -> Iterator[bytes]:
        """Return the lines that the next bytes complete."""
        received = body.read(until)
        if not received:
            raise Failure("the stream was cut: its last line is missing")
        *lines, self._begun = (self._begun + received).split(b"\n")
        return iter(lines)


def _decoded(line: bytes) -> wire.Line:
    try:
        found: wire.Line = wire.decode(wire.Line, line)
    except wire.DamagedMessage as error:
        raise Failure(f"the stream is damaged: {error}") from error
    return found

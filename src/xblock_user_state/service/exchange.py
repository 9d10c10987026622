"""Reads requests and makes answers: deadlines, compression, and limits of size. The frame around each view."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from xblock_user_state import conf, wire
from xblock_user_state.metrics.current import elapsed
from xblock_user_state.service import problems
from xblock_user_state.service.access_log import access_of
from xblock_user_state.service.callers import caller_of
from xblock_user_state.service.named import RequestClient, named
from xblock_user_state.service.problems import Refusal

# Smaller answers fit into the ten packets that a server sends at once (RFC 6928), so they arrive no later uncompressed.
_COMPRESSED_BYTES = 14_000
_GZIP = 16 + zlib.MAX_WBITS
_TIMEOUT = re.compile(r"[0-9]{1,10}")
# Seconds since 1970, as nginx writes them.
_QUEUED = re.compile(r"t=([0-9]{1,10}\.[0-9]{3,6})")

_WITHOUT_BODY = (204, 304)
_METHODS_WITH_BODY = ("POST", "PUT", "PATCH")

View = Callable[..., HttpResponseBase]
_compressed = GZipMiddleware(lambda request: HttpResponse()).process_response


def framed(view: View) -> View:
    """Return a view that answers each error by a problem, and compresses what the caller takes compressed."""

    @csrf_exempt  # `caller_of` checks requests of a session
    @wraps(view)
    def answered(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
        try:
            answer = view(request, **arguments)
        except Exception as error:  # noqa: BLE001 (the outermost frame; unknown errors are logged)
            answer = problems.answer_to(request, error)
        if answer.status_code == 405:
            answer = problems.not_allowed(answer)
        # A browser or proxy may keep a state, and must ask whether it still holds.
        patch_cache_control(answer, private=True, no_cache=True)
        if not isinstance(answer, HttpResponse) or len(answer.content) >= _COMPRESSED_BYTES:
            return _compressed(request, answer)
        patch_vary_headers(answer, ("Accept-Encoding",))
        if answer.status_code in _WITHOUT_BODY:
            # RFC 9110 forbids them here.
            del answer.headers["Content-Type"]
            return answer
        # Without a length a server sends chunks, which take longer to read.
        answer.headers["Content-Length"] = str(len(answer.content))
        return answer

    # The client has its own transactions. One around a view would be committed after the answer of an error, too.
    for alias in settings.DATABASES:
        answered = transaction.non_atomic_requests(using=alias)(answered)
    return answered


def client_and_body(request: HttpRequest) -> tuple[RequestClient, bytes]:
    """Return the client of a request, and its body. Raises for a caller without authentication before it reads."""
    check_deadline(request)
    caller = caller_of(request)
    body = read_body(request)
    check_deadline(request)
    return RequestClient(caller, named(request, caller, body)), body


def check_deadline(request: HttpRequest) -> None:
    """Raise `Refusal` if the caller no longer waits: nothing is begun then."""
    given = request.headers.get(wire.TIMEOUT)
    if given is None:
        return
    if not _TIMEOUT.fullmatch(given):
        raise ValueError(f"{wire.TIMEOUT} must be milliseconds, a number of 1 to 10 digits, not {given[:30]!r}")
    late = _waited(request) - int(given)
    if late >= 0:
        raise Refusal("DeadlinePassed", f"the request was {late:.0f} ms late, and was not begun")


def _waited(request: HttpRequest) -> float:
    """Return the milliseconds since the request arrived: at a proxy that tells when, or here."""
    here = elapsed(access_of(request).since)
    queued = _QUEUED.fullmatch(request.headers.get("X-Request-Start", ""))
    return max(here, (time.time() - float(queued[1])) * 1000) if queued else here


def read_body(request: HttpRequest) -> bytes:
    """Return the body of a request, decompressed. Raises `Refusal` if it is too large, or no JSON by its headers."""
    most = conf.value("SERVICE_REQUEST_BYTES")
    # Not `request.body`: Django's limit is that of forms.
    raw = request.read(most + 1)
    if not raw:
        # Under WSGI Django reads as many bytes as the header Content-Length says.
        if "Transfer-Encoding" in request.headers and request.method in _METHODS_WITH_BODY:
            raise wire.DamagedMessage("the body is empty, or came in chunks; send it with the header Content-Length")
        return b""
    if request.content_type != wire.JSON:
        raise Refusal("UnsupportedMedia", f"the Content-Type must be {wire.JSON}")
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding == "gzip":
        raw = _decompressed(raw, most)
    elif encoding != "identity":
        raise Refusal("UnsupportedMedia", "the Content-Encoding must be gzip, or none")
    if len(raw) > most:
        raise Refusal("RequestTooLarge", f"the body has more than {most:,} bytes; send it in parts")
    return raw


def _decompressed(raw: bytes, most: int) -> bytes:
    stream = zlib.decompressobj(_GZIP)
    try:
        body = stream.decompress(raw, most + 1)
    except zlib.error as error:
        raise wire.DamagedMessage(f"the body is not gzip: {error}") from error
    if len(body) <= most and (not stream.eof or stream.unused_data):
        raise wire.DamagedMessage("the body is not one complete stream of gzip")
    return body


def answer(message: Any, revision: int | None = None) -> HttpResponse:
    """Return a message as an answer. Raises `Refusal` if it is too large."""
    body, most = wire.encode(message), conf.value("SERVICE_ANSWER_BYTES")
    if len(body) > most:
        raise Refusal("AnswerTooLarge", f"the answer has more than {most:,} bytes; ask for fewer rows at a time")
    found = HttpResponse(body, content_type=wire.JSON)
    if revision is not None:
        found["ETag"] = wire.etag(revision)
    return found


def stream(request: HttpRequest, chunks: Iterator[bytes]) -> StreamingHttpResponse:
    """Return chunks of lines as an answer, of which only one is in memory at a time, under WSGI and ASGI."""
    content: Iterable[bytes] | AsyncIterator[bytes] = chunks
    if isinstance(request, ASGIRequest):
        # Django would make a list of it.
        content = _one_by_one(chunks)
    return StreamingHttpResponse(content, content_type=wire.LINES)


async def _one_by_one(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    following = sync_to_async(lambda: next(chunks, b""))
    while chunk := await following():
        yield chunk

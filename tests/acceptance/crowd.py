"""Learners of the demo who send requests at the same moment, over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from threading import Barrier
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from tests.acceptance.demo_server import PASSWORD
from tests.server_process import ServerProcess

MEMBERS = [f"member{number}" for number in range(40)]
UNGUARDED = "X-Unguarded"
"""The header of requests that do without the guard."""

PATIENCE = 60.0

Headers = Mapping[str, str]
NO_HEADERS: Headers = MappingProxyType({})
_FORM: Headers = MappingProxyType({"Content-Type": "application/x-www-form-urlencoded"})
# Django compares the cookie with the header, and any token will do.
_TOKEN = "t" * 32


class Answer(NamedTuple):
    status: int
    text: str
    cookies: str

    @property
    def json(self) -> Any:
        assert self.status == 200, self
        return json.loads(self.text)


class Request(NamedTuple):
    """A POST if it has a `body`, else a GET."""

    path: str
    session: str = ""
    body: str | None = None
    headers: Headers = NO_HEADERS


class Crowd:
    """Users who are logged in, at all servers with the same database and secret key. Makes their requests."""

    def __init__(self, server: ServerProcess, usernames: Sequence[str]) -> None:
        forms = [urlencode({"username": username, "password": PASSWORD}) for username in usernames]
        answers = at_once(server, [Request("/login/", body=form, headers=_FORM) for form in forms])
        self._sessions = dict(zip(usernames, map(_session, answers), strict=True))

    def view(self, username: str, path: str) -> Request:
        """Return the request for a page."""
        return Request(path, self._sessions[username])

    def call(self, username: str, handler: str, data: Any, headers: Headers = NO_HEADERS) -> Request:
        """Return the call of a JSON handler of a block."""
        return Request(handler, self._sessions[username], json.dumps(data), headers)

    def submit(self, username: str, handler: str, fields: Mapping[str, str]) -> Request:
        """Return the call of a handler that takes a form."""
        return Request(handler, self._sessions[username], urlencode(fields), _FORM)


def ask(server: ServerProcess, request: Request) -> Answer:
    """Send one request."""
    [answer] = at_once(server, [request])
    return answer


def at_once(server: ServerProcess, requests: Sequence[Request]) -> list[Answer]:
    """Send all requests at the same moment, each on a connection of its own."""
    begin = Barrier(len(requests))

    def send(request: Request) -> Answer:
        with closing(HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE)) as connection:
            # All are connected before the first one sends.
            connection.connect()
            begin.wait(PATIENCE)
            headers = {"Cookie": f"csrftoken={_TOKEN}; {request.session}", "X-CSRFToken": _TOKEN, **request.headers}
            connection.request("GET" if request.body is None else "POST", quote(request.path), request.body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(), response.getheader("Set-Cookie", ""))

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(send, requests))


def _session(answer: Answer) -> str:
    found = re.search(r"sessionid=\w+", answer.cookies)
    assert found, answer
    return found[0]

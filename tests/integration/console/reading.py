"""Reads the console's pages."""

from __future__ import annotations

import html
import re
from contextlib import ExitStack
from typing import Any

from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.factories import COURSE, make_block

MOST_STATEMENTS = 11
"""With the statement for the session, which the tests keep in a cookie, 12."""


def address(name: str, *arguments: Any, **query: Any) -> str:
    return reverse(f"xblock_user_state_console:{name}", args=arguments, query=query)


def history_address(username: str = "ann", block: Any = None, **query: Any) -> str:
    return address("history", username, COURSE, block or make_block(), **query)


def read(client: Client, url: str) -> str:
    """Return the text of a page, without its tags."""
    answer = client.get(url, follow=True)
    assert answer.status_code == 200, answer
    body = answer.content.decode().partition("<h1")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def links(client: Client, url: str) -> dict[str, str]:
    """Return the addresses of a page's links by their text."""
    body = client.get(url, follow=True).content.decode()
    found = re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>(.*?)</a>', body)
    return {text: html.unescape(href) for href, text in found}


def statements(client: Client, url: str, data: dict[str, Any] | None = None) -> int:
    """Return the number of statements of a page, in all databases; with data, of a POST."""
    with ExitStack() as stack:
        captured = [stack.enter_context(CaptureQueriesContext(connection)) for connection in connections.all()]
        answer = client.get(url) if data is None else client.post(url, data)
        assert answer.status_code == 200
    return sum(len(queries) for queries in captured)

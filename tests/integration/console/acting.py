"""Goes through the console's pages that act, as a browser does."""

from __future__ import annotations

import html
import re
from typing import Any

import lxml.html
from django.test import Client


def text_of(answer: Any) -> str:
    """Return the text of a page without its tags."""
    body = answer.content.decode().partition("<h1")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def parsed(answer: Any) -> Any:
    """Return the elements of a page."""
    return lxml.html.fromstring(answer.content)


def order_in(answer: Any, name: str = "order") -> str:
    """Return the hidden order of a preview, or of a run that goes on."""
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.content.decode())
    assert found is not None, text_of(answer)
    return html.unescape(found[1])


def preview(client: Client, url: str, **values: Any) -> Any:
    """Fill in the form of a page; return the preview."""
    answer = client.post(url, {"reason": "a broken question", **values})
    assert answer.status_code == 200, answer
    return answer


def confirm(client: Client, url: str, seen: Any) -> Any:
    """Confirm a preview, or go on; return the page that follows."""
    return client.post(url, {"order": order_in(seen)})


def act(client: Client, url: str, **values: Any) -> str:
    """Go through form, preview and confirmation; return the text of the result."""
    return text_of(confirm(client, url, preview(client, url, **values)))

"""Every text on the console's pages can be translated: a language that brackets its texts leaves none without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils.translation import trans_real
from lxml import html

from tests.factories import COURSE, make_block
from tests.integration.console.conftest import Login
from tests.integration.console.reading import address, history_address
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule
from xblock_user_state.state.keys import identify_block
from xblock_user_state.store.databases import state_database

BRACKETED = re.compile(r"⟦[^⟦⟧]*⟧")
# What is the same in every language, or comes from the learners, the host and the databases.
DATA = re.compile(
    rf"{re.escape(str(COURSE))}|\b(ann|staff|moon|never-seen|attempts|[ab])\b|UTC|JSON|CSV|[ap]\.m\."
    r"|xblock-user-state|\d[\w.]+|Django|Python|SQLite|PostgreSQL|MariaDB|MySQL"
    r"|states|default history|extended history|outbox"
)
CODE = ("code", "pre", "time", "style", "script")
ATTRIBUTES = ("aria-label", "title", "placeholder", "alt", "data-label")

MOON = make_block("moon")
DAMAGED = make_block("b")
PAGES = (
    address("learners"),
    address("learners", q="nobody"),
    address("learners", course=str(COURSE), since="2030-01-01"),
    address("learners", since="2020-01-01", until="2090-01-01"),
    address("learner", "ann"),
    address("in_course", "ann", COURSE),
    history_address(block=MOON),
    history_address(block=MOON, field="no"),
    history_address(block=DAMAGED),
    address("compare", "ann", COURSE, MOON, old=1, new=3),
    address("course", COURSE),
    address("block", COURSE, MOON),
    address("block", COURSE, make_block("never-seen")),
    address("health"),
)


class Bracketing(trans_real.DjangoTranslation):
    """A language whose texts are the English ones in brackets."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ngettext(self, singular: str, plural: str, number: int) -> str:
        return f"⟦{singular if number == 1 else plural}⟧"


@pytest.fixture
def bracketing(monkeypatch: pytest.MonkeyPatch) -> None:
    language = Bracketing("en")
    monkeypatch.setattr(trans_real, "translation", lambda _: language)
    monkeypatch.setattr(trans_real, "_default", language)
    monkeypatch.setattr(trans_real, "_active", type("Active", (), {"value": language})())


def texts(page: Any) -> Iterator[str]:
    """Yield the texts of a page, and the attributes that readers see or hear."""
    for element in page.iter():
        if element.tag not in CODE and isinstance(element.tag, str):
            yield element.text or ""
        yield element.tail or ""
        yield from (element.get(name, "") for name in ATTRIBUTES)


def unmarked(text: str) -> str:
    """Return what is left of a text without its translated parts and without data."""
    while BRACKETED.search(text):
        text = BRACKETED.sub("", text)
    return DATA.sub("", text)


def test_every_text_is_marked_for_translation(ann: User, login: Login, bracketing: None) -> None:
    client = DjangoXBlockUserStateClient(ann)
    with client.batch("ann") as batch:
        batch.set(MOON, {"a": 1, "attempts": 1})
        batch.set_score(MOON, 1, 2)
    for number in range(6):
        client.set("ann", MOON, {"b": number})
    client.set("ann", MOON, {"b": "a " * 60})
    client.set("ann", DAMAGED, {"a": 1})
    rows = StudentModule._base_manager.using(state_database())
    rows.filter(student_id=ann.pk, block_id=identify_block(DAMAGED).id).update(state="[1]")
    reader = login("*")
    found = []
    for url in PAGES:
        answer = reader.get(url)
        assert answer.status_code == 200
        page = html.fromstring(answer.content)
        found += [(url, text.strip()) for text in texts(page) if re.search(r"[^\W\d_]", unmarked(text))]
    assert found == []

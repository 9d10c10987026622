"""Statements of a page: a unit of 30 blocks of four types with asides, at the first view, a later view, and an answer.

Outside a transaction, so that transaction control counts. The documentation has the figures of each database. A guarded
unit of work has the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User

from tests import citus
from tests.blocks import ASIDE_TYPE, PageRuntime, make_page
from tests.documentation import DOCS
from tests.factories import make_learners
from tests.integration.statements import captured, verbs
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import Preferences, StudentModule, UserInfo, UserStateSummary
from xblock_user_state.runtime import UserStateKeyValueStore

pytestmark = pytest.mark.django_db(transaction=True)

IDS, KEYS = make_page(*["quiz", "poll", "video", "text", "quiz", "poll"] * 5)
QUIZ, POLL = KEYS[:2]
TABLES = [model._meta.db_table for model in (StudentModule, Preferences, UserInfo, UserStateSummary)]
# In the order of the documentation's columns, after the reference's.
DIALECTS = ["postgresql", "citus", "mysql", "sqlite"]


class GuardingStore(UserStateKeyValueStore):
    """Guards all of its units of work."""

    @contextmanager
    def unit_of_work(self, *, guarded: bool = True) -> Iterator[None]:
        with super().unit_of_work(guarded=guarded):
            yield


@pytest.fixture(params=[UserStateKeyValueStore, GuardingStore], ids=["unguarded", "guarded"], autouse=True)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with both kinds of units."""
    monkeypatch.setattr(f"{__name__}.UserStateKeyValueStore", request.param)


@pytest.fixture
def ada() -> User:
    return make_learners("ada")[0]


def view(user: User) -> str:
    """Show the page, as a host's view does."""
    runtime = _runtime(user)
    blocks = [runtime.get_block(key) for key in KEYS]
    runtime.learner_state.prefetch(blocks)
    with runtime.learner_state.unit_of_work():
        return "".join(block.render("student_view").body_html() for block in blocks)


def answer_quiz(user: User, answer: str = "red") -> None:
    """Let a quiz handle an answer, as a host's handler does. It publishes a grade."""
    runtime = _runtime(user)
    with runtime.learner_state.unit_of_work():
        runtime.submit(QUIZ, answer)


def answer_poll(user: User, answer: str = "red") -> None:
    """Let a poll handle an answer. It writes fields of the learner and fields that all learners share."""
    runtime = _runtime(user)
    with runtime.learner_state.unit_of_work():
        runtime.submit(POLL, answer)


def write_note(user: User) -> None:
    """Let an aside handle a note. It writes its state and a preference."""
    runtime = _runtime(user)
    with runtime.learner_state.unit_of_work():
        runtime.submit(QUIZ, "a note", ASIDE_TYPE)


def delete_answers(user: User) -> None:
    """Delete one field."""
    del _runtime(user).get_block(QUIZ).answers


def _runtime(user: User) -> PageRuntime:
    return PageRuntime(UserStateKeyValueStore(DjangoXBlockUserStateClient(user), user), user, IDS)


def documented(event: str) -> int:
    """Return the documented number of statements of an event on this run's database."""
    table = (DOCS / "how-to/requests-in-detail.md").read_text().partition("## Cost of a page")[2]
    [cells] = re.findall(rf"^\| {event} \|(.*)\|$", table, re.MULTILINE)
    return int(cells.split("|")[1 + DIALECTS.index(citus.DIALECT)])


def cost(act: Callable[[User], object], user: User) -> int:
    with captured() as statements:
        act(user)
    return len(statements)


def test_a_view_that_changes_nothing_is_one_statement(ada: User) -> None:
    view(ada)
    before = StudentModule.objects.order_by("pk").values_list("block_id", "revision")
    with captured() as statements:
        view(ada)
    assert verbs(statements) == ["SELECT"] * documented("view again")
    assert [sum(table in statement for statement in statements) for table in TABLES] == [1, 1, 1, 1]
    assert list(before) == list(StudentModule.objects.order_by("pk").values_list("block_id", "revision"))


def test_a_first_view_reads_once_and_writes_all_seeds_at_once(ada: User) -> None:
    view(make_learners("ben")[0])
    with captured() as statements:
        view(ada)
    assert len(statements) == documented("first view")
    assert verbs(statements)[0] == "SELECT"
    assert StudentModule.objects.filter(student=ada).count() == 10


def test_a_first_view_of_a_page_that_nobody_has_seen(ada: User) -> None:
    assert cost(view, ada) == documented("first view by any learner")


def test_the_page_shows_what_was_done(ada: User) -> None:
    for act in (answer_quiz, answer_poll, write_note):
        act(ada)
    page = view(ada)
    for shown in ("1 {'1': 'red'}", "a note 0 1 blue", "red {'red': 1}", "0 1 en"):
        assert shown in page


@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("submit to a problem, with its grade", lambda user: answer_quiz(user, "blue")),
        ("submit to a poll, which counts votes", lambda user: answer_poll(user, "blue")),
        ("submit to an aside, state and preference", write_note),
        ("delete of a field", delete_answers),
    ],
)
def test_an_answer_costs_a_read_a_scope_and_a_write(ada: User, event: str, act: Callable[[User], object]) -> None:
    for once in (view, answer_quiz, answer_poll, write_note):
        once(ada)
    assert cost(act, ada) == documented(event)

"""The action log in pages, and everything that is held of one learner: export and erasure."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.factories import COURSE, make_block, make_learners
from tests.integration.console.acting import act, order_in, text_of
from tests.integration.console.conftest import Login
from tests.integration.console.reading import MOST_STATEMENTS, address, links, read, statements
from tests.integration.console.test_learners import follow
from xblock_user_state.actions import reset_attempts
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.console import log
from xblock_user_state.models import LoggedAction
from xblock_user_state.state.keys import identify_context

BLOCK = make_block()


@pytest.fixture
def staff(login: Login) -> Client:
    return login("view_studentmodule", "view_studentmodulehistory", "change_studentmodule")


@pytest.fixture
def grace(db: None) -> User:
    return make_learners("grace")[0]


def reset(grace: User, *names: str, reason: str = "a broken question") -> LoggedAction:
    """Let grace reset the attempts of some learners in one call; return a row of it."""
    for name in names:
        DjangoXBlockUserStateClient().set(name, BLOCK, {"attempts": 3})
    acted = reset_attempts(BLOCK, list(names), actor=grace, reason=reason)
    return LoggedAction.objects.filter(run=str(acted.id))[0]


def test_calls_are_listed_and_filtered(ann: User, grace: User, staff: Client) -> None:
    make_learners("bob")
    reset(grace, "ann", "bob", reason="the first")
    row = reset(grace, "ann", reason="the second")
    text = read(staff, address("actions"))
    assert text.index("the second") < text.index("the first")
    assert "2 2 states" in text
    today, tomorrow = timezone.localdate(), timezone.localdate() + timedelta(days=1)
    for number, query in (
        (2, {"learner": "ann", "act": "reset_attempts", "actor": "grace", "course": str(COURSE), "since": today}),
        (1, {"learner": "bob"}),
        (0, {"act": "undo"}),
        (0, {"actor": "ann"}),
        (0, {"since": tomorrow}),
        (2, {"until": today}),
    ):
        assert read(staff, address("actions", **query)).count(" grace the ") == number, query
    assert "There is no user “ghost”" in read(staff, address("actions", learner="ghost"))
    assert "Write a date" in read(staff, address("actions", since="oops"))
    LoggedAction.objects.filter(id=row.id).update(actor=12345678)
    assert "deleted user" in read(staff, address("actions"))


def test_a_page_of_calls_looks_at_a_bounded_part(
    ann: User, grace: User, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "EXAMINED", 4)
    monkeypatch.setattr(log, "SHOWN", 3)
    names = [user.username for user in make_learners(*(f"learner{number}" for number in range(6)))]
    reset(grace, *names, reason="the large one")
    for number in range(4):
        reset(grace, "ann", reason=f"number {number}")
    pages = follow(staff, address("actions"), "Next page")
    assert [[f"number {number}" in page for number in range(4)] for page in pages][:2] == [
        [False, True, True, True],
        [True, False, False, False],
    ]
    assert "the large one" in pages[1]
    assert "A page looks at 4 rows" in pages[1]


def test_one_call_has_its_rows_and_is_undone_row_by_row(ann: User, grace: User, staff: Client) -> None:
    make_learners("bob")
    run = reset(grace, "ann", "bob").run
    url = address("action", run, course=str(COURSE))
    text = read(staff, url)
    assert "By grace" in text
    assert "Reason a broken question" in text
    assert text.count("1 → 2") == 2
    act(staff, links(staff, url)["Undo for bob"])
    text = read(staff, url)
    assert "undone" in text
    assert "Undo for ann" in text
    client = DjangoXBlockUserStateClient()
    assert [(client.get(name, BLOCK).state or {})["attempts"] for name in ("ann", "bob")] == [0, 3]


def test_pages_of_the_log_take_few_statements(ann: User, grace: User, staff: Client) -> None:
    run = reset(grace, "ann").run
    urls = [address("actions"), address("actions", learner="ann", actor="grace"), address("action", run)]
    few = [statements(staff, url) for url in urls]
    of_course = {"context_id": identify_context(COURSE), "created": timezone.now()}
    user = User.objects.get(username="ann")
    LoggedAction.objects.bulk_create(
        LoggedAction(run=run if number % 2 else uuid4(), act="undo", actor=grace, student=user, **of_course)
        for number in range(200)
    )
    assert [statements(staff, url) for url in urls] == few
    assert max(few) <= MOST_STATEMENTS
    assert len(follow(staff, address("action", run), "Next page")) == 5


def test_a_learners_data_are_sent_as_a_file(ann: User, staff: Client) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"answer": "<b>moon</b>"})
    url = links(staff, address("learner", "ann"))["Export a learner’s data"]
    assert "This field is required" in text_of(staff.post(url, {"form": "json"}))
    answer = staff.post(url, {"reason": "ann asked", "form": "json"})
    assert answer["Content-Disposition"] == 'attachment; filename="ann.json"'
    assert json.loads(answer.content)["states"][0]["state"] == {"answer": "<b>moon</b>"}
    answer = staff.post(url, {"reason": "ann asked", "form": "html"})
    assert "&lt;b&gt;moon" in answer.content.decode()
    assert list(LoggedAction.objects.values_list("act", flat=True)) == ["export_learner"] * 2


def test_a_learner_is_erased_after_the_name_was_typed(ann: User, login: Login) -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCK, {"a": 1})
    keeper = login("view_studentmodule", "delete_studentmodule")
    url = links(keeper, address("learner", "ann"))["Erase a learner"]
    seen = keeper.post(url, {"reason": "ann asked"})
    assert "Activities with a state or a score StudentModule 1" in text_of(seen)
    values = {"reason": "ann asked", "token": order_in(seen, "token")}
    for wrong in ({"username": "Ann"}, {"username": "ann", "token": "oops"}):
        assert keeper.post(url, {**values, **wrong}).status_code == 200
    assert client.get("ann", BLOCK).state == {"a": 1}
    erased = keeper.post(url, {**values, "username": "ann"})
    assert "Receipt of an erasure" in text_of(erased)
    file = keeper.post(url, {"receipt": order_in(erased, "receipt")})
    assert file["Content-Disposition"] == 'attachment; filename="receipt.json"'
    assert (file.json()["student_id"], file.json()["rows"]["StudentModule"]) == (ann.pk, 1)
    assert keeper.post(url, {"receipt": "forged"}).status_code == 404
    assert list(client.get_many("ann", [BLOCK])) == []
    client.set("ann", BLOCK, {"a": 2})
    assert "done already" in text_of(keeper.post(url, {**values, "username": "ann"}))
    assert client.get("ann", BLOCK).state == {"a": 2}

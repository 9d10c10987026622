"""A block over all learners: responses, figures and files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.test import Client, override_settings
from opaque_keys.edx.keys import UsageKey

from tests.factories import COURSE, make_block, make_learners
from tests.integration.console.reading import MOST_STATEMENTS, address, links, read, statements
from tests.integration.console.test_learners import follow
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.console import responses
from xblock_user_state.console.hosts import ConsoleHost, Describe
from xblock_user_state.console.views import blocks
from xblock_user_state.interface import XBlockUserState
from xblock_user_state.models import StudentModule
from xblock_user_state.store.databases import state_database

PAGE = address("block", COURSE, make_block())
CHOICES = {"choice_0": "A white torch", "choice_2": "A red torch"}


class TalkingHost(ConsoleHost):
    def describe(self, user: Any, block_key: UsageKey) -> Describe | None:
        return _described


def _described(found: XBlockUserState) -> Iterable[Mapping[str, object]]:
    assert found.state is not None
    yield {"Question": "Which?", "Answer": CHOICES[found.state["student_answers"]["in"]]}


HOST = {"CONSOLE_HOST": f"{__name__}.TalkingHost"}


def answer(name: str, choice: str, grade: float, attempts: int = 1) -> None:
    client = DjangoXBlockUserStateClient()
    with client.batch(name) as batch:
        batch.set(make_block(), {"student_answers": {"in": choice}, "attempts": attempts})
        batch.set_score(make_block(), grade, 1)


def download(staff: Client, form: str) -> str:
    found: Any = staff.get(address("responses", COURSE, make_block(), form))
    assert found["Content-Disposition"] == f'attachment; filename="stars.{form}"'
    return b"".join(found.streaming_content).decode()


@pytest.fixture(autouse=True)
def bob(ann: User) -> User:
    return make_learners("bob")[0]


def test_every_learner_is_on_one_page(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ROWS", 10)
    names = [f"learner{number:03}" for number in range(25)]
    make_learners(*names)
    for name in names:
        answer(name, "choice_0", 1)
    pages = follow(staff, PAGE, "Next page")
    assert len(pages) == 3
    assert [name for page in pages for name in names if f" {name} " in page.partition("Responses")[2]] == names


@override_settings(XBLOCK_USER_STATE=HOST)
def test_answers_are_counted_in_words(staff: Client) -> None:
    make_learners("cid")
    User.objects.filter(username="bob").update(first_name="Bob", last_name="Okafor")
    answer("ann", "choice_2", 1)
    answer("bob", "choice_0", 0, attempts=3)
    answer("cid", "choice_2", 1)
    text = read(staff, PAGE)
    assert "3 learners have a state or a score here" in text
    assert "Answer Learners A red torch 2 A white torch 1" in text
    assert "Percent Learners 0–10 % 1 10–20 % 0" in text
    assert "90–100 % 2" in text
    assert "Attempts Learners 0 0 1 2 2 0 3 1" in text
    # The question once, and not in each row.
    assert text.count("Which?") == 1
    assert "bob Bob Okafor Answer A white torch 0 / 1 3" in text


def test_each_row_leads_to_the_history(staff: Client) -> None:
    answer("ann", "choice_2", 1)
    assert "Revision 1" in read(staff, links(staff, PAGE)["ann"])


@override_settings(XBLOCK_USER_STATE=HOST)
def test_a_state_that_cant_be_read_takes_no_page_down(staff: Client, ann: User) -> None:
    for name in ("ann", "bob"):
        answer(name, "choice_2", 1)
    StudentModule._base_manager.using(state_database()).filter(student_id=ann.pk).update(state="[1]")
    DjangoXBlockUserStateClient().set("bob", make_block(), {"student_answers": {"in": "gone"}})
    text = read(staff, PAGE)
    assert "unreadable" in text
    assert "KeyError" in text
    assert len(download(staff, "csv").splitlines()) == 3
    assert "KeyError" in download(staff, "jsonl")


def test_a_deleted_user_is_said(staff: Client, ann: User) -> None:
    answer("ann", "choice_2", 1)
    get_user_model().objects.filter(pk=ann.pk)._raw_delete("default")
    assert "deleted user" in read(staff, PAGE)


def test_figures_of_many_are_an_estimate_and_say_so(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "SAMPLE", 2)
    monkeypatch.setattr(blocks, "COUNTED", 2)
    answer("ann", "choice_2", 1)
    answer("bob", "choice_2", 1)
    assert "estimate" not in read(staff, PAGE)
    make_learners("cid")
    answer("cid", "choice_2", 1)
    text = read(staff, PAGE)
    assert "More than 2 learners" in text
    assert "The charts are an estimate: they show the 2 oldest accounts" in text


def test_the_csv_has_all_learners_and_runs_no_formula(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "FILE_PAGE", 2)
    names = ["ann", "bob", *(f"learner{number}" for number in range(3))]
    make_learners(*names[2:])
    for name in names:
        answer(name, "choice_2", 0.5)
    DjangoXBlockUserStateClient().set("bob", make_block(), {"student_answers": "=cmd()"})
    text = download(staff, "csv")
    assert text[0] == "\N{BYTE ORDER MARK}"
    rows = list(csv.DictReader(io.StringIO(text[1:])))
    assert [row["Learner"] for row in rows] == names
    assert (rows[0]["Grade"], rows[0]["Maximum"], rows[0]["Attempts"]) == ("0.5", "1.0", "1")
    assert rows[0]["Answer"] == "choice_2"
    assert rows[1]["Answer"] == "'=cmd()"
    assert rows[1]["Name"] == "bob"


@override_settings(XBLOCK_USER_STATE=HOST)
def test_json_lines_have_the_states(staff: Client) -> None:
    answer("ann", "choice_2", 1)
    [line] = download(staff, "jsonl").splitlines()
    found = json.loads(line)
    assert (found["learner"], found["name"]) == ("ann", "ann")
    assert found["state"]["student_answers"] == {"in": "choice_2"}
    assert found["words"] == [{"Question": "Which?", "Answer": "A red torch"}]


def test_a_block_takes_the_same_few_statements_at_any_size(staff: Client) -> None:
    answer("ann", "choice_2", 1)
    few = statements(staff, PAGE)
    names = [f"learner{number:03}" for number in range(60)]
    make_learners(*names)
    for name in names:
        answer(name, "choice_2", 1)
    assert statements(staff, PAGE) == few <= MOST_STATEMENTS


def test_a_place_that_is_no_learner_begins_at_the_first(staff: Client) -> None:
    answer("ann", "choice_2", 1)
    assert " ann " in read(staff, f"{PAGE}?after=oops")

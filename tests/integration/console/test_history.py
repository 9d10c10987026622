"""The history of a learner in a block, and the comparison of two revisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, override_settings
from django.utils import timezone
from opaque_keys.edx.keys import UsageKey

from tests import citus
from tests.factories import COURSE, make_block, make_learners
from tests.integration.console.reading import (
    MOST_STATEMENTS,
    address,
    history_address,
    links,
    read,
    statements,
)
from tests.integration.console.test_learners import follow
from tests.integration.rows import shift_times
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.console.hosts import ConsoleHost, Describe
from xblock_user_state.history.entries import stores
from xblock_user_state.interface import XBlockUserState
from xblock_user_state.models import StudentModule
from xblock_user_state.store.databases import state_database

OLDER = "Older revisions"


class TalkingHost(ConsoleHost):
    def describe(self, user: Any, block_key: UsageKey) -> Describe | None:
        return _described


def _described(found: XBlockUserState) -> Iterable[Mapping[str, object]]:
    assert found.state is not None
    yield {"Answer": f"the number {found.state['n']:d}"}


HOST = {"CONSOLE_HOST": f"{__name__}.TalkingHost"}


def write(count: int, first: int = 1) -> None:
    """Change the state of ann `count` times, with the score each time."""
    client = DjangoXBlockUserStateClient()
    for number in range(first, first + count):
        with client.batch("ann") as batch:
            batch.set(make_block(), {"n": number})
            batch.set_score(make_block(), number, 100)


def revisions(text: str) -> list[int]:
    """Return the numbers of the revisions on a page, in order."""
    words = text.split()
    return [int(number) for word, number in pairwise(words) if word == "Revision"]


def test_a_revision_shows_its_changes_its_score_and_its_actor(ann: User, staff: Client) -> None:
    write(1)
    by_bob = DjangoXBlockUserStateClient(make_learners("bob")[0])
    by_bob.set("ann", make_block(), {"n": 5, "deep": {"map": {"correct": 1, "same": 2}}})
    by_bob.set("ann", make_block(), {"deep": {"map": {"correct": 0, "same": 2}}})
    text = read(staff, history_address())
    assert "deep › map › correct before: 1 → after: 0" in text
    assert "n before: 1 → after: 5" in text
    assert "Score 1 / 100" in text
    assert "by bob" in text


def test_long_texts_are_compared_word_by_word(ann: User, staff: Client) -> None:
    client = DjangoXBlockUserStateClient()
    words = [f"word{number}" for number in range(200)]
    client.set("ann", make_block(), {"essay": " ".join(words)})
    words[100] = "<changed>"
    client.set("ann", make_block(), {"essay": " ".join(words)})
    body = staff.get(history_address()).content.decode().partition("Revision 2")[2].partition("Revision 1")[0]
    assert "<del>word100</del><ins>&lt;changed&gt;</ins>" in body
    assert "word50" not in body


def test_every_revision_is_on_one_page(ann: User, staff: Client) -> None:
    write(60)
    pages = follow(staff, history_address(), OLDER)
    assert [number for page in pages for number in revisions(page)] == list(range(60, 0, -1))
    assert len(pages) == 3


def test_a_filter_goes_on_where_it_stopped(ann: User, staff: Client) -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", make_block(), {"rare": 1})
    write(150)
    client.set("ann", make_block(), {"rare": 2})
    pages = follow(staff, history_address(field="rare"), OLDER)
    assert [revisions(page) for page in pages] == [[152], [1]]
    assert "Revisions 26 to 152 were looked at" in pages[0]
    assert '<option value="rare">' in staff.get(history_address()).content.decode()


def test_a_filter_by_actor(ann: User, staff: Client) -> None:
    write(3)
    DjangoXBlockUserStateClient(ann).set("ann", make_block(), {"n": 0})
    assert revisions(read(staff, history_address(actor="ann"))) == [4]
    assert "None of these revisions matches" in read(staff, history_address(actor="nobody"))


def move_back(days: int) -> None:
    """Make the history of now one of some days ago."""
    for model, alias in stores(state_database()):
        shift_times(model._base_manager.using(alias), "created", -timedelta(days=days))


def test_a_jump_to_a_date_and_a_first_day(ann: User, staff: Client, tmp_path: Path) -> None:
    write(2)
    move_back(5)
    write(2, first=3)
    today = timezone.now()
    days = {number: f"{today - timedelta(days=number):%Y-%m-%d}" for number in (0, 3, 9)}
    assert revisions(read(staff, history_address(until=days[3]))) == [2, 1]
    assert revisions(read(staff, history_address(until=days[0]))) == [4, 3, 2, 1]
    assert revisions(read(staff, history_address(until=days[9]))) == []
    assert revisions(read(staff, history_address(since=days[3]))) == [4, 3]
    # The pack has revisions before and after the date.
    call_command("compact_history", older_than="0h", state_file=tmp_path / "position.json", stdout=StringIO())
    assert revisions(read(staff, history_address(until=days[3]))) == [2, 1]
    assert revisions(read(staff, history_address(until=days[9]))) == []
    assert revisions(read(staff, history_address(since="oops", until="oops"))) == [4, 3, 2, 1]


def test_runs_of_small_changes_are_folded(ann: User, staff: Client) -> None:
    client = DjangoXBlockUserStateClient(ann)
    write(1)
    for number in range(6):
        client.set("ann", make_block(), {"position": number})
    client.set("ann", make_block(), {"essay": "word " * 100})
    text = read(staff, history_address())
    assert "6 small changes" in text
    assert revisions(text) == [8, 7, 6, 5, 4, 3, 2, 1]


def test_deletions_and_damaged_entries_are_said(ann: User, staff: Client) -> None:
    write(2)
    DjangoXBlockUserStateClient().delete("ann", make_block())
    for model, alias in stores(state_database()):
        model._base_manager.using(alias).filter(revision=2).update(body=b"?")
    text = read(staff, history_address())
    assert "The change can’t be shown" in text
    assert revisions(text) == [3, 2, 1]


def test_a_deletion_is_said(ann: User, staff: Client) -> None:
    write(1)
    DjangoXBlockUserStateClient().delete("ann", make_block())
    assert "The whole state was deleted" in read(staff, history_address())


def test_a_state_that_cant_be_read_does_not_take_the_page_down(ann: User, staff: Client) -> None:
    write(2)
    StudentModule._base_manager.using(state_database()).filter(student_id=ann.pk).update(state="[1]")
    text = read(staff, history_address())
    # Above everything else, and in the list of the course too.
    assert "can’t be read: it is not a JSON object. Restore an earlier revision" in text.partition("Revisions")[0]
    assert revisions(text) == [2, 1]


def test_a_block_type_that_is_not_recorded_shows_its_state(ann: User, staff: Client) -> None:
    film = make_block("film", "video")
    DjangoXBlockUserStateClient().set("ann", film, {"position": "00:01:30"})
    text = read(staff, history_address(block=film))
    assert "is not recorded" in text
    assert "00:01:30" in text


@override_settings(XBLOCK_USER_STATE=HOST)
def test_answers_are_shown_in_the_words_of_the_block(ann: User, staff: Client) -> None:
    write(1)
    DjangoXBlockUserStateClient().set("ann", make_block(), {"n": "oops"})
    text = read(staff, history_address())
    assert "Answer the number 1" in text
    assert "ValueError: Unknown format code" in text


def test_any_two_revisions_are_compared(ann: User, staff: Client) -> None:
    write(40)
    text = read(staff, address("compare", "ann", COURSE, make_block(), old=30, new=3))
    assert "Revision 3 compared with 30" in text
    assert "n before: 3 → after: 30" in text
    assert "3 / 100 → 30 / 100" in text
    assert "The states are the same" in read(staff, address("compare", "ann", COURSE, make_block(), old=3, new=3))


def test_each_revision_links_to_the_comparison_with_the_newest(ann: User, staff: Client) -> None:
    write(2)
    url = links(staff, history_address())["Compare revision 1 with the newest"]
    assert "Revision 1 compared with 2" in read(staff, url)


@override_settings(TIME_ZONE="Asia/Kathmandu")
def test_times_are_local_with_utc_beside_them(ann: User, staff: Client) -> None:
    write(1)
    moment = StudentModule.objects.get(student_id=ann.pk).modified
    text = read(staff, history_address())
    assert f"{moment + timedelta(hours=5, minutes=45):%a}, " in text
    assert f"{moment + timedelta(hours=5, minutes=45):%H:%M:%S} +0545 ({moment:%H:%M:%S} UTC)" in text or (
        f"({moment:%Y-%m-%d %H:%M:%S} UTC)" in text
    )


@pytest.mark.parametrize("query", [{}, {"field": "n"}, {"before": 20}])
def test_a_history_of_any_length_takes_the_same_few_statements(ann: User, staff: Client, query: dict[str, Any]) -> None:
    write(30)
    few = statements(staff, history_address(**query))
    write(200, first=31)
    assert statements(staff, history_address(**query)) <= few
    assert few <= MOST_STATEMENTS
    assert statements(staff, address("compare", "ann", COURSE, make_block(), old=3, new=200)) <= MOST_STATEMENTS


@pytest.mark.extended_history
@pytest.mark.django_db(transaction=True)
def test_a_history_in_two_databases_is_read_as_one(transactional_db: None) -> None:
    make_learners("ann")
    write(3)
    with override_settings(XBLOCK_USER_STATE={"EXTENDED_HISTORY": True}):
        write(3, first=4)
        staff = Client()
        staff.force_login(User.objects.create(username="root", is_superuser=True))
        assert revisions(read(staff, history_address())) == [6, 5, 4, 3, 2, 1]
        today = f"{timezone.now():%Y-%m-%d}"
        assert revisions(read(staff, history_address(until=today))) == [6, 5, 4, 3, 2, 1]
        compared = address("compare", "ann", COURSE, make_block(), old=2, new=5)
        pages = (history_address(), history_address(field="n"), compared, address("health"))
        # A superuser's permissions take no statement, those of others take two. On Citus the system checks
        # ask each database how its tables are distributed.
        more = 2 if citus.URL else 0
        assert max(statements(staff, url) for url in pages) <= MOST_STATEMENTS - 2 + more

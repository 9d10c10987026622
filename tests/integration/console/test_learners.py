"""The list of learners, a learner, and a learner in a course."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.utils import timezone
from opaque_keys.edx.keys import LearningContextKey, UsageKey
from opaque_keys.edx.locator import CourseLocator

from tests.factories import COURSE, make_block, make_blocks, make_learners
from tests.integration.console.reading import MOST_STATEMENTS, address, links, read, statements
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.console.hosts import ConsoleHost
from xblock_user_state.console.views import learners as views
from xblock_user_state.models import StudentModule
from xblock_user_state.store.databases import state_database

OLD_STYLE = CourseLocator("Astro", "A101", "2013", deprecated=True)


class OrderedHost(ConsoleHost):
    def title(self, block_key: UsageKey) -> str:
        return f"The {block_key.block_id}"

    def outline(self, course_key: LearningContextKey) -> Sequence[UsageKey]:
        return list(reversed(make_blocks(4)))


HOST = {"CONSOLE_HOST": f"{__name__}.OrderedHost"}


def follow(client: Client, url: str, text: str) -> list[str]:
    """Return the texts of the pages from this one on, along the links with this text."""
    pages = [read(client, url)]
    path = url.partition("?")[0]
    while text in (found := links(client, url)):
        url = path + found[text]
        pages.append(read(client, url))
    return pages


def test_the_list_shows_activity_and_sums(ann: User, staff: Client) -> None:
    client = DjangoXBlockUserStateClient()
    for number, key in enumerate(make_blocks(3)):
        client.set("ann", key, {"a": 1})
        client.set_score("ann", key, number, 2)
    text = read(staff, address("learners"))
    assert "3 3 / 6" in text
    assert "staff no activity" in text


def test_every_learner_is_on_one_page(staff: Client) -> None:
    names = [f"learner{number:03}" for number in range(60)]
    make_learners(*names)
    pages = follow(staff, address("learners", q="learner"), "Next page")
    found = [name for page in pages for name in names if f"{name} " in page]
    assert len(pages) == 3
    assert found == names


def test_the_search_finds_parts_of_names_and_addresses(staff: Client) -> None:
    User.objects.create(username="u1", first_name="Ada", last_name="Lindqvist", email="ada@sky.example")
    for words in ("lindq", "ADA lind", "u1", "sky.ex", "Ada\0"):
        assert "Ada Lindqvist" in read(staff, address("learners", q=words))
    assert "No learner matches" in read(staff, address("learners", q="ada ben"))


def test_the_list_is_filtered_by_course_type_and_time(ann: User, staff: Client) -> None:
    make_learners("bob", "cid")
    client = DjangoXBlockUserStateClient()
    client.set("ann", make_block(), {"a": 1})
    client.set("bob", make_block("film", "video"), {"a": 1})
    client.set("cid", make_block(course=CourseLocator("Org", "C", "r")), {"a": 1})

    def found(**query: str) -> list[str]:
        text = read(staff, address("learners", **query))
        return [name for name in ("ann", "bob", "cid") if f" {name} " in text]

    assert found(course=str(COURSE)) == ["ann", "bob"]
    assert found(type="video") == ["bob"]
    assert found(course=str(COURSE), type="problem") == ["ann"]
    assert found(since="2020-01-01") == ["ann", "bob", "cid"]
    assert found(since=f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}") == []
    assert found(type="a\0b") == []
    # The last day is in the range.
    today = timezone.localdate()
    assert found(since=f"{today - timedelta(days=1)}", until=f"{today}") == ["ann", "bob", "cid"]
    assert found(until=f"{today - timedelta(days=1)}") == []
    assert "Blocks in the filter" in read(staff, address("learners", until=f"{today}"))


def test_a_filter_that_cant_be_read_is_said(staff: Client) -> None:
    assert "is not the key of a course" in read(staff, address("learners", course="oops"))
    for day in ("oops", "2026-02-31"):
        assert "is not a date" in read(staff, address("learners", since=day))
        assert "is not a date" in read(staff, address("learners", until=day))


def test_a_filtered_page_looks_at_a_bounded_number_of_learners(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "EXAMINED", 10)
    make_learners(*(f"learner{number:03}" for number in range(25)))
    DjangoXBlockUserStateClient().set("learner024", make_block(), {"a": 1})
    pages = follow(staff, address("learners", course=str(COURSE)), "Next page")
    assert len(pages) == 3
    assert "10 learners were looked at" in pages[0]
    assert "Go on to the next page" in pages[0]
    assert "learner024" in pages[2]


def test_a_learner_has_a_list_of_courses(ann: User, staff: Client) -> None:
    client = DjangoXBlockUserStateClient()
    assert "no state in any course" in read(staff, address("learner", "ann"))
    client.set("ann", make_block(), {"a": 1})
    client.set_score("ann", make_block("old", course=OLD_STYLE), 1, 4)
    text = read(staff, address("learner", "ann"))
    assert str(COURSE) in text
    assert "1 / 4" in text
    # Old-style keys have slashes.
    url = links(staff, address("learner", "ann"))["Astro/A101/2013"]
    assert "1 / 4" in read(staff, url)


def test_blocks_of_a_course_come_newest_first_in_pages(
    ann: User, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "BLOCKS", 2)
    client = DjangoXBlockUserStateClient()
    for number, key in enumerate(make_blocks(5)):
        # Blocks of free text count in a field of another name.
        client.set("ann", key, {"attempts" if number % 2 else "count_attempts": 7})
    pages = follow(staff, address("in_course", "ann", COURSE), "Next page")
    assert [[number for number in range(5) if f"block{number}" in page] for page in pages] == [[3, 4], [1, 2], [0]]
    assert all(" 7 1 " in page for page in pages)


@override_settings(XBLOCK_USER_STATE=HOST)
def test_blocks_come_in_the_order_of_the_hosts_outline(
    ann: User, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "BLOCKS", 3)
    DjangoXBlockUserStateClient().set("ann", make_block("block1"), {"a": 1})
    first, second = follow(staff, address("in_course", "ann", COURSE), "Next page")
    assert first.index("The block3") < first.index("The block2 problem not seen") < first.index("The block1")
    assert "The block0" in second


def test_a_state_that_cant_be_read_is_named(ann: User, staff: Client) -> None:
    DjangoXBlockUserStateClient().set("ann", make_block(), {"a": 1})
    StudentModule._base_manager.using(state_database()).filter(student_id=ann.pk).update(state="[1]")
    text = read(staff, address("in_course", "ann", COURSE))
    assert "stars : The state of this activity can’t be read. Restore an earlier revision" in text.partition("Score")[0]
    assert "unreadable" in text


def test_pages_take_the_same_few_statements_at_any_size(ann: User, staff: Client) -> None:
    urls = [
        address("learners"),
        address("learners", course=str(COURSE)),
        address("learner", "ann"),
        address("in_course", "ann", COURSE),
    ]
    client = DjangoXBlockUserStateClient()
    client.set("ann", make_block(), {"a": 1})
    few = [statements(staff, url) for url in urls]
    make_learners(*(f"learner{number:03}" for number in range(100)))
    for name in ("ann", *(f"learner{number:03}" for number in range(30))):
        client.set_many(name, {key: {"a": 1} for key in make_blocks(70)})
    assert [statements(staff, url) for url in urls] == few
    assert max(few) <= MOST_STATEMENTS

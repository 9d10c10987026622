"""Real blocks under requests at the same moment, over HTTP: no vote, attempt or value is lost (law 11)."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from lxml import html as pages

from tests.acceptance.crowd import MEMBERS, NO_HEADERS, UNGUARDED, Crowd, Headers, ask, at_once
from tests.acceptance.demo_server import DemoServer, PreforkedDemo
from tests.server_process import ServerProcess

COURSE = (Path(__file__).parent / "courses" / "crowd.xml").read_text()
RUNS = ("threads", "processes")
ADA, BEN, *_ = MEMBERS
REFUSED = "The state of this problem has changed since you loaded this page. Please refresh your page."
INPUT = re.compile(r'<input[^>]* name="(input_[^"]+)"')
NUMBER = re.compile(r"Which number comes after (\d+)\?")


class Site(NamedTuple):
    """A server, and a run of the course on it. In each run, all blocks are without state at first."""

    server: ServerProcess
    crowd: Crowd
    run: str

    def key(self, block_type: str, name: str) -> str:
        return f"block-v1:Starfield+CROWD+{self.run}+type@{block_type}+block@{name}"

    def handler(self, block_type: str, name: str, handler: str) -> str:
        return f"/xblock/{self.key(block_type, name)}/handler/{handler}"

    def call(self, username: str, handler: str, data: Any) -> Any:
        return ask(self.server, self.crowd.call(username, handler, data)).json

    def call_at_once(self, handler: str, calls: Sequence[tuple[str, Any]], headers: Headers = NO_HEADERS) -> list[Any]:
        """Call a handler for these users with these data."""
        requests = [self.crowd.call(username, handler, data, headers) for username, data in calls]
        return [answer.json for answer in at_once(self.server, requests)]

    def view_at_once(self, unit: str, usernames: Sequence[str]) -> list[str]:
        """Let users view a unit, and return its pages."""
        answers = at_once(self.server, [self.crowd.view(username, f"/units/{unit}/") for username in usernames])
        assert {answer.status for answer in answers} == {200}
        # The content of problems is in an attribute.
        return [html.unescape(answer.text) for answer in answers]

    def submit_at_once(self, name: str, answers: Sequence[tuple[str, str, Any]]) -> list[Any]:
        """Submit answers to a problem: username, name of the input, and value."""
        handler = self.handler("problem", name, "xmodule_handler/problem_check")
        requests = [self.crowd.submit(username, handler, {field: value}) for username, field, value in answers]
        return [answer.json for answer in at_once(self.server, requests)]

    def history(self, username: str, name: str) -> History:
        """Return the history of a problem, as staff see it."""
        path = f"/console/learners/{username}/course-v1:Starfield+CROWD+{self.run}/{self.key('problem', name)}/"
        return History(ask(self.server, self.crowd.view("staff", path)).text)


class History:
    """The page of a learner's history in a block."""

    def __init__(self, text: str) -> None:
        self._page = pages.fromstring(text)

    @property
    def state(self) -> dict[str, str]:
        state = "//details[summary/h2]/dl/div"
        return dict(zip(self._texts(f"{state}/dt/text()"), self._texts(f"{state}/dd/pre/text()"), strict=True))

    def values_of(self, field: str) -> list[str]:
        """Return the values of a field, one for each entry that changed it, oldest first."""
        return self._texts(f"//article//dt[. = '{field}']/following-sibling::dd[1]/ins/text()")[::-1]

    def _texts(self, path: str) -> list[str]:
        found = self._page.xpath(path)
        assert isinstance(found, list)
        return [str(text) for text in found]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[dict[str, Site]]:
    """Two servers on one database: one with one process, and one with several. Both answer requests by threads."""
    folder = tmp_path_factory.mktemp("crowd")
    variables = {}
    for run in RUNS:
        course = folder / f"{run}.xml"
        course.write_text(COURSE.replace('run="2026"', f'run="{run}"'))
        settings = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.crowd_settings", "DEMO_COURSE": str(course)}
        variables[run] = {**settings, "DATABASE_URL": database_url}
    with (
        DemoServer(folder, variables["threads"]) as threads,
        PreforkedDemo(folder, variables["processes"]) as processes,
    ):
        crowd = Crowd(threads, [*MEMBERS, "staff"])
        yield {"threads": Site(threads, crowd, "threads"), "processes": Site(processes, crowd, "processes")}


@pytest.fixture(params=RUNS)
def site(sites: dict[str, Site], request: pytest.FixtureRequest) -> Site:
    return sites[request.param]


def half_and_half() -> list[tuple[str, dict[str, str]]]:
    """Return each member's vote in a poll."""
    return [(member, {"choice": ("north", "south")[number % 2]}) for number, member in enumerate(MEMBERS)]


def test_all_votes_in_a_poll_are_counted(site: Site) -> None:
    voted = site.call_at_once(site.handler("poll", "poll", "vote"), half_and_half())
    assert [answer["success"] for answer in voted] == [True] * len(MEMBERS)
    results = site.call(ADA, site.handler("poll", "poll", "get_results"), {})
    assert [choice["count"] for choice in results["tally"]] == [20, 20]


def test_without_the_guard_votes_are_lost(site: Site) -> None:
    """The control: these requests do meet each other."""
    voted = site.call_at_once(site.handler("poll", "unguarded-poll", "vote"), half_and_half(), {UNGUARDED: "1"})
    assert [answer["success"] for answer in voted] == [True] * len(MEMBERS)
    assert site.call(ADA, site.handler("poll", "unguarded-poll", "get_results"), {})["total"] < len(MEMBERS)


def test_all_words_of_a_cloud_are_counted(site: Site) -> None:
    words = [(member, {"student_words": ["stars", f"word of {member}"]}) for member in MEMBERS]
    sent = site.call_at_once(site.handler("word_cloud", "cloud", "handle_submit_state"), words)
    assert [answer["status"] for answer in sent] == ["success"] * len(MEMBERS)
    cloud = site.call(ADA, site.handler("word_cloud", "cloud", "handle_get_state"), {})
    assert cloud["student_words"] == {"stars": len(MEMBERS), f"word of {ADA}": 1}
    assert cloud["total_count"] == 2 * len(MEMBERS)


def test_all_feedback_is_counted(site: Site) -> None:
    votes = [(member, {"vote": number % 5}) for number, member in enumerate(MEMBERS)]
    sent = site.call_at_once(site.handler("feedback", "rating", "feedback"), votes)
    assert [answer["success"] for answer in sent] == [True] * len(MEMBERS)
    # This comment changes no vote, and the block answers with all of them.
    answer = site.call(ADA, site.handler("feedback", "rating", "feedback"), {"freeform": "Clear."})
    assert answer["aggregate"] == [8] * 5


@pytest.mark.parametrize("username", [ADA, BEN], ids=["after a view", "without a row"])
def test_no_more_attempts_are_graded_than_allowed(site: Site, username: str) -> None:
    [page] = site.view_at_once("attempts", [ADA])
    [field] = INPUT.findall(page)
    answers = site.submit_at_once("three-attempts", [(username, field, number) for number in range(12)])
    assert Counter(answer["success"] for answer in answers) == {"incorrect": 3, REFUSED: 9}
    history = site.history(username, "three-attempts")
    assert history.values_of("attempts") == ["1", "2", "3"]
    assert history.state["attempts"] == "3"


def test_two_tabs_show_the_number_that_is_stored(site: Site) -> None:
    learners = MEMBERS[:5]
    tabs = [*learners, *learners]
    pages = site.view_at_once("numbers", tabs)
    shown = [number for page in pages for number in NUMBER.findall(page)]
    later = [number for page in site.view_at_once("numbers", learners) for number in NUMBER.findall(page)]
    assert shown == later * 2
    fields = [field for page in pages for field in INPUT.findall(page)]
    rights = [str(int(number) + 1) for number in shown]
    answers = site.submit_at_once("sum", list(zip(tabs, fields, rights, strict=True)))
    # Of two tabs one is graded, whichever is first; then the problem must be reset.
    assert Counter(answer["success"] for answer in answers) == {"correct": 5, REFUSED: 5}
    for learner in learners:
        history = site.history(learner, "sum")
        assert history.values_of("seed") == [history.state["seed"]]


def test_parallel_values_of_a_package_are_all_kept(site: Site) -> None:
    values = {
        "cmi.suspend_data": "page=3&seen=1,2",
        "cmi.core.lesson_location": "3",
        "cmi.core.session_time": "00:10:00",
        "cmi.core.exit": "suspend",
    }
    sets = [(member, {"name": name, "value": value}) for member in MEMBERS[:5] for name, value in values.items()]
    answers = site.call_at_once(site.handler("scorm", "package", "scorm_set_value"), sets)
    assert [answer["result"] for answer in answers] == ["success"] * len(sets)
    names = [(member, {"name": data["name"]}) for member, data in sets]
    kept = site.call_at_once(site.handler("scorm", "package", "scorm_get_value"), names)
    assert [answer["value"] for answer in kept] == [data["value"] for _, data in sets]

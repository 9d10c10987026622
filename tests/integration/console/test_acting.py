"""Actions in pages: a form, a preview, the result; never by GET, never over newer changes, and for few users."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from django.urls import reverse
from opaque_keys.edx.keys import UsageKey

from tests.factories import COURSE, make_block, make_learners
from tests.integration.console.acting import act, confirm, order_in, parsed, preview, text_of
from tests.integration.console.conftest import Login
from tests.integration.console.reading import MOST_STATEMENTS, history_address, links, read, statements
from xblock_user_state.actions.changes import Rescorer
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.console import flow
from xblock_user_state.console.hosts import ConsoleHost
from xblock_user_state.maintenance import parts
from xblock_user_state.models import LoggedAction, StudentModule

BLOCK, OTHER = make_block(), make_block("moon")


def page(name: str, *arguments: Any, **query: Any) -> str:
    return reverse(f"xblock_user_state_console:{name}", args=arguments, query=query)


def on_block(act: str, username: str = "ann", block: UsageKey = BLOCK) -> str:
    return page("act_on_block", username, COURSE, block, act)


def all_block(act: str, block: UsageKey = BLOCK) -> str:
    return page("act_all_block", COURSE, block, act)


@pytest.fixture
def bob(ann: User) -> User:
    return make_learners("bob")[0]


@pytest.fixture(autouse=True)
def states(ann: User, bob: User) -> None:
    client = DjangoXBlockUserStateClient()
    for name in ("ann", "bob"):
        client.set(name, BLOCK, {"attempts": 3, "answer": name})
        client.set_score(name, BLOCK, 1, 2)


@pytest.fixture
def staff(login: Login) -> Client:
    return login("view_studentmodule", "view_studentmodulehistory", "change_studentmodule")


def state(username: str, block: UsageKey = BLOCK) -> Any:
    return next((one.state for one in DjangoXBlockUserStateClient().get_many(username, [block])), None)


def score(username: str) -> Any:
    found = DjangoXBlockUserStateClient().get_scores(username, [BLOCK]).get(BLOCK)
    return found and (found.grade, found.max_grade)


def test_a_preview_shows_what_would_change_and_changes_nothing(staff: Client) -> None:
    url = on_block("reset_attempts")
    assert "Reset attempts" in read(staff, url)
    text = text_of(preview(staff, url))
    assert "Nothing has changed yet" in text
    assert "Would change 1 Would stay as they are 0 Skipped 0" in text
    assert "attempts before: 3 → after: 0" in text
    assert state("ann")["attempts"] == 3
    assert not LoggedAction.objects.exists()


def test_actions_that_delete_come_last_and_are_marked(staff: Client) -> None:
    found = parsed(staff.get(history_address())).xpath("//nav[@class='xus-acts']/a")
    assert [link.text_content() for link in found if link.get("class")] == ["Delete the state"]
    assert found[-1].get("class") == "xus-danger"
    for name, count in (("delete_state", 1), ("reset_attempts", 0)):
        assert preview(staff, on_block(name)).content.count(b'class="xus-danger"') == count


def test_a_preview_says_that_it_shows_a_part(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    url = all_block("reset_attempts")
    assert "The first" not in text_of(preview(staff, url, who="all"))
    monkeypatch.setattr(flow, "SHOWN", 1)
    assert "The first 1 of them." in text_of(preview(staff, url, who="all"))


def test_a_reason_is_needed(staff: Client) -> None:
    answer = staff.post(on_block("reset_attempts"), {"reason": " "})
    assert "This field is required" in text_of(answer)
    assert "order" not in (answer.context or {})


def test_attempts_are_reset_and_the_history_says_why(staff: Client) -> None:
    assert links(staff, history_address())["Reset attempts"] == on_block("reset_attempts")
    text = act(staff, on_block("reset_attempts"))
    assert "Done: Reset attempts" in text
    assert "Changed 1" in text
    assert state("ann") == {"attempts": 0, "answer": "ann"}
    [row] = LoggedAction.objects.all()
    assert (row.actor.username, row.reason, row.revision_before, row.revision_after) == (
        "staff",
        "a broken question",
        2,
        3,
    )
    assert "Reset attempts : a broken question" in read(staff, history_address())


def test_a_revision_is_restored_from_the_history(staff: Client) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"answer": "lost"})
    url = links(staff, history_address())["Restore revision 2"]
    assert 'value="2"' in staff.get(url).content.decode()
    act(staff, url, revision="2")
    assert state("ann")["answer"] == "ann"


def test_a_state_that_cant_be_read_is_restored(staff: Client) -> None:
    StudentModule._base_manager.filter(student__username="ann").update(state="garbage")
    assert "restore an earlier revision, or delete the state" in text_of(preview(staff, on_block("reset_attempts")))
    assert "The state before can’t be read." in text_of(preview(staff, on_block("restore"), revision="2"))
    assert "Changed 1" in act(staff, on_block("restore"), revision="2")
    assert state("ann") == {"attempts": 3, "answer": "ann"}


def test_a_revision_that_does_not_exist_is_an_error_of_the_form(staff: Client) -> None:
    answer = preview(staff, on_block("restore"), revision="42")
    assert "There is no revision 42; the newest is 2." in text_of(answer)
    assert 'value="42"' in answer.content.decode()
    assert "order" not in answer.context
    text = text_of(preview(staff, on_block("restore", block=OTHER), revision="1"))
    assert "There is no revision: the learner has no state in this block." in text


def test_the_form_of_a_score_has_the_present_one_and_refuses_an_impossible_one(staff: Client) -> None:
    form = staff.get(on_block("override_score")).context["form"]
    assert (form["grade"].value(), form["max_grade"].value()) == (1, 2)
    assert "more points than possible" in text_of(preview(staff, on_block("override_score"), grade="5", max_grade="1"))
    assert score("ann") == (1, 2)


def test_a_score_is_set_and_a_state_deleted_and_undone(staff: Client) -> None:
    assert "1 / 2 → 2 / 2" in text_of(preview(staff, on_block("override_score"), grade="2", max_grade="2"))
    act(staff, on_block("override_score"), grade="2", max_grade="2")
    assert score("ann") == (2, 2)
    seen = confirm(staff, on_block("delete_state"), preview(staff, on_block("delete_state")))
    assert state("ann") is None
    assert score("ann") is None
    run = LoggedAction.objects.get(act="delete_state").run
    undo = page("undo", run, course=str(COURSE))
    assert f'href="{undo}"' in seen.content.decode()
    assert "answer before: → after:" not in text_of(preview(staff, undo))
    assert "Changed 1" in act(staff, undo)
    assert state("ann") == {"attempts": 3, "answer": "ann"}
    assert staff.get(undo).status_code == 404


def test_a_preview_leads_back_to_the_filled_in_form(staff: Client) -> None:
    url, file = all_block("override_score"), SimpleUploadedFile("cohort.txt", b"bob")
    seen = preview(staff, url, who="these", names="ann", file=file, grade="1.5", max_grade="2")
    [form] = [form for form in parsed(seen).forms if "names" in form.fields]
    answer = staff.post(url, {**form.fields, "change": "1"})
    fields = parsed(answer).forms[0].fields
    assert (fields["who"], fields["names"].split(), fields["grade"]) == ("these", ["ann", "bob"], "1.5")
    assert fields["reason"].strip() == "a broken question"
    assert "order" not in answer.context
    assert score("ann") == (1, 2)


def test_a_stale_preview_changes_nothing_and_says_so(staff: Client) -> None:
    url = on_block("reset_attempts")
    seen = preview(staff, url)
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"attempts": 4})
    text = text_of(confirm(staff, url, seen))
    assert "Some states were changed after the preview" in text
    assert "it was changed since: it has revision 3, not 2" in text
    assert state("ann")["attempts"] == 4


def test_a_form_that_is_sent_twice_acts_once(staff: Client) -> None:
    url = on_block("reset_attempts")
    seen = preview(staff, url)
    confirm(staff, url, seen)
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"attempts": 1})
    again = confirm(staff, url, seen)
    text = text_of(again)
    assert "Done before: Reset attempts" in text
    assert "This was already done" in text
    assert "Changed 0" not in text
    [row] = LoggedAction.objects.all()
    assert page("action", row.run) in again.content.decode()
    assert state("ann")["attempts"] == 1
    assert LoggedAction.objects.count() == 1


def test_an_order_is_for_its_page_and_its_user(staff: Client, ann: User) -> None:
    order = order_in(preview(staff, on_block("reset_attempts")))
    for url, text in ((on_block("delete_state"), order), (on_block("reset_attempts"), order[:-2])):
        assert "The preview is too old, or of another page" in text_of(staff.post(url, {"order": text}))
    root = User.objects.create(username="root", is_superuser=True)
    staff.force_login(root)
    staff.post(on_block("reset_attempts"), {"order": order})
    assert state("ann")["attempts"] == 3


def test_a_cohort_is_a_list_and_a_file(staff: Client) -> None:
    make_learners("cid")
    url, file = all_block("reset_attempts"), SimpleUploadedFile("cohort.txt", "\ufeffbob\r\n\r\n cid ;\n".encode())
    text = text_of(preview(staff, url, who="these", names="ann", file=file))
    assert "Would change 2 Would stay as they are 0 Skipped 1" in text
    assert "cid stars the state counts no attempts" in text
    file.seek(0)
    act(staff, url, who="these", names="ann", file=file)
    assert [state(name)["attempts"] for name in ("ann", "bob")] == [0, 0]
    assert LoggedAction.objects.values("run").distinct().count() == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"who": "these", "names": "ann, ghost; Ann"}, "There is no user “ghost”, “Ann”. Give usernames"),
        ({"who": "these", "names": ",".join(map("x{}".format, range(12)))}, "“x9” and 2 more"),
        ({"who": "these"}, "Name the learners, or choose all."),
        ({"who": "all", "names": "ann"}, "There are names"),
        ({"who": "these", "file": SimpleUploadedFile("a.txt", b"\xff\xfe")}, "not a text file in UTF-8"),
    ],
    ids=str,
)
def test_a_cohort_that_cant_be_read_is_said(staff: Client, values: dict[str, Any], message: str) -> None:
    assert message in text_of(preview(staff, all_block("reset_attempts"), **values))


@pytest.mark.parametrize("where", ["block", "course"])
def test_a_long_run_goes_on_in_parts_of_one_call(staff: Client, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(parts, "STATES", 2)
    client = DjangoXBlockUserStateClient()
    for user in make_learners("cid", "dan", "eve"):
        client.set(user.username, BLOCK, {"attempts": 1})
    client.replace("ann", BLOCK, {"answer": "ann"})
    client.set("ann", OTHER, {"attempts": 9})
    url = all_block("reset_attempts") if where == "block" else page("act_all_course", COURSE, "reset_attempts")
    seen = preview(staff, url, who="all")
    assert "The preview looked at the first 2 states" in text_of(seen)
    orders = []
    while b'name="order"' in seen.content:
        orders.append(order_in(seen))
        seen = confirm(staff, url, seen)
    number = 4 if where == "block" else 5
    assert len(orders) == 3
    assert f"Changed {number} Stayed as they were 0 Skipped 1" in text_of(seen)
    # Skipped in another part than the last.
    assert "ann stars the state counts no attempts" in text_of(seen)
    assert {state(name)["attempts"] for name in ("bob", "cid", "dan", "eve")} == {0}
    [run] = set(LoggedAction.objects.values_list("run", flat=True))
    assert LoggedAction.objects.count() == number
    # A part that is sent again acts on nobody again.
    client.set("dan", BLOCK, {"attempts": 5})
    for order in orders:
        staff.post(url, {"order": order})
    assert state("dan")["attempts"] == 5
    act(staff, page("undo", run, course=str(COURSE)))
    assert (state("bob")["attempts"], state("dan")["attempts"]) == (3, 5)


def test_a_learners_course_is_one_part(staff: Client) -> None:
    DjangoXBlockUserStateClient().set("ann", OTHER, {"attempts": 9})
    assert "Changed 2" in act(staff, page("act_on_course", "ann", COURSE, "reset_attempts"))
    assert (state("ann")["attempts"], state("ann", OTHER)["attempts"], state("bob")["attempts"]) == (0, 0, 3)
    when = DjangoXBlockUserStateClient().get("ann", OTHER).updated
    text = text_of(preview(staff, page("act_on_course", "ann", COURSE, "restore"), at=f"{when:%Y-%m-%dT%H:%M:%S}"))
    assert "Preview: Restore" in text


def test_a_state_moves_to_another_key(staff: Client) -> None:
    url = page("act_on_block", "ann", COURSE, BLOCK, "move_state")
    assert "not the usage key" in text_of(preview(staff, url, to="moon"))
    assert "Would change 1" in text_of(preview(staff, url, to=str(OTHER)))
    assert state("ann", OTHER) is None
    act(staff, url, to=str(OTHER))
    assert state("ann", OTHER)["answer"] == "ann"
    DjangoXBlockUserStateClient().set("bob", OTHER, {"a": 1})
    url = all_block("move_state")
    assert "bob stars there is a state under the new key" in text_of(preview(staff, url, to=str(OTHER)))


class ScoringHost(ConsoleHost):
    def rescorer(self, block_key: UsageKey | None) -> Rescorer | None:
        return full_marks if block_key == BLOCK else None

    def title(self, block_key: UsageKey) -> str:
        return "The stars"


def full_marks(client: DjangoXBlockUserStateClient, learner: Any, block_key: UsageKey) -> None:
    client.set_score(learner.username, block_key, 2, 2)


def test_only_a_host_that_can_rescore_offers_it(staff: Client) -> None:
    assert staff.get(on_block("rescore")).status_code == 404
    with override_settings(XBLOCK_USER_STATE={"CONSOLE_HOST": f"{__name__}.ScoringHost"}):
        assert "scored anew" in text_of(preview(staff, on_block("rescore")))
        assert score("ann") == (1, 2)
        assert "Changed 1" in act(staff, on_block("rescore"))
        assert staff.get(on_block("rescore", block=OTHER)).status_code == 404
    assert score("ann") == (2, 2)


@override_settings(XBLOCK_USER_STATE={"CONSOLE_HOST": f"{__name__}.ScoringHost"})
def test_the_result_has_titles_and_values(staff: Client) -> None:
    make_learners("cid")
    result = act(staff, all_block("reset_attempts"), who="these", names="ann, cid")
    assert "ann The stars attempts before: 3 → after: 0" in result
    assert "cid The stars the state counts no attempts" in result
    run = LoggedAction.objects.get().run
    assert "ann The stars 2 → 3" in read(staff, page("action", run))


class FailingHost(ConsoleHost):
    def rescorer(self, block_key: UsageKey | None) -> Rescorer | None:
        return fail_for_ann


def fail_for_ann(client: DjangoXBlockUserStateClient, learner: Any, block_key: UsageKey) -> None:
    full_marks(client, learner, block_key)
    if learner.username == "ann":
        raise LookupError("no such answer \ud800")


@override_settings(XBLOCK_USER_STATE={"CONSOLE_HOST": f"{__name__}.FailingHost"})
def test_a_learner_at_whom_the_host_fails_is_skipped(staff: Client) -> None:
    text = act(staff, all_block("rescore"), who="all")
    assert "Changed 1 Stayed as they were 0 Skipped 1" in text
    assert "ann stars the host's function failed: LookupError: no such answer \\ud800" in text
    assert (score("ann"), score("bob")) == ((1, 2), (2, 2))


def test_forged_requests_are_refused(staff: Client) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(User.objects.get(username="staff"))
    assert careful.get(on_block("reset_attempts")).status_code == 200
    assert careful.post(on_block("reset_attempts"), {"reason": "x"}).status_code == 403


@override_settings(XBLOCK_USER_STATE={"OPENEDX_STAGE": "shadow"})
def test_nothing_is_offered_to_a_site_that_copies_state(staff: Client) -> None:
    answer = staff.get(on_block("reset_attempts"))
    assert answer.status_code == 409
    assert "OPENEDX_STAGE" in text_of(answer)


def test_readers_see_no_way_to_act(login: Login) -> None:
    reader = login("view_studentmodule", "view_studentmodulehistory")
    assert "Reset attempts" not in read(reader, history_address())
    assert "Restore revision" not in read(reader, history_address())


def test_pages_that_act_take_few_statements(staff: Client) -> None:
    client = DjangoXBlockUserStateClient()
    urls = [on_block("reset_attempts"), all_block("reset_attempts"), page("act_all_course", COURSE, "reset_attempts")]

    def counts() -> list[int]:
        forms = [statements(staff, url) for url in urls]
        previews = [statements(staff, url, {"reason": "x", "who": "all"}) for url in urls]
        return forms + previews

    few = counts()
    for user in make_learners(*(f"learner{number}" for number in range(20))):
        client.set(user.username, BLOCK, {"attempts": 1})
    assert counts() == few
    assert max(few) <= MOST_STATEMENTS

"""Actions of staff: changes with history kept, an actor, a reason, and a row in the log; and their undoing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import override_settings

from tests.factories import COURSE, make_block, make_blocks, make_learners
from tests.integration.statements import captured
from tests.policies import Asked, refuse
from xblock_user_state.access import Policy
from xblock_user_state.actions import (
    Acted,
    delete_state,
    override_score,
    rescore,
    reset_attempts,
    restore,
    undo,
)
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import PermissionDenied, ServiceUnavailable, UserDoesNotExist, UserId
from xblock_user_state.models import LoggedAction, StudentModule
from xblock_user_state.runtime import UserStateKeyValueStore
from xblock_user_state.state import FieldChange
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db

BLOCK, OTHER = make_blocks(2)
WORD = make_block("word", "word_cloud")
WHY: Any = {"reason": "a broken question"}


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    client = DjangoXBlockUserStateClient()
    for user in make_learners("ann", "bob", "cid"):
        client.set(user.username, BLOCK, {"attempts": 3, "answer": user.username})
        client.set_score(user.username, BLOCK, 1, 2)
    client.set("ann", OTHER, {"attempts": 1})
    client.set("ann", WORD, {"words": ["sky"]})
    return client


@pytest.fixture
def grace() -> User:
    return make_learners("grace")[0]


def state_of(learner: str, block: Any = BLOCK) -> Any:
    found = DjangoXBlockUserStateClient().get_many(learner, [block])
    return next((one.state for one in found), None)


def score_of(learner: str, block: Any = BLOCK) -> Any:
    score = DjangoXBlockUserStateClient().get_scores(learner, [block]).get(block)
    return score and (score.grade, score.max_grade)


def numbers(acted: Acted) -> tuple[int, int, int, int]:
    return acted.learners, acted.changed, acted.unchanged, acted.skipped


def test_a_dict_names_learners_and_their_blocks(client: DjangoXBlockUserStateClient, grace: User) -> None:
    by: Any = {"actor": grace, **WHY}
    users = {user.username: user.pk for user in User.objects.all()}
    chosen: Any = {UserId(users["ann"]): [OTHER], "bob": [BLOCK]}
    policy = Asked()
    run = uuid4()
    acted = reset_attempts(chosen, **by, policy=policy, run=run)
    assert (numbers(acted), acted.id) == ((2, 2, 0, 0), run)
    assert [state_of("ann")["attempts"], state_of("bob")["attempts"]] == [3, 0]
    assert {question.block_key for question in policy.questions} == {OTHER, BLOCK}
    # More of the same call, and its undoing by rows.
    reset_attempts({"cid": [BLOCK]}, **by, run=run)
    rows = LoggedAction.objects.filter(run=run, student_id__in=(users["bob"], users["cid"]))
    assert numbers(undo([row.id for row in rows], **by)) == (2, 2, 0, 0)
    assert [state_of("ann", OTHER)["attempts"], state_of("cid")["attempts"]] == [0, 3]


def test_blocks_that_were_changed_since_a_preview_stay(client: DjangoXBlockUserStateClient, grace: User) -> None:
    by: Any = {"actor": grace, **WHY}
    plan = reset_attempts(BLOCK, **by, dry_run=True)
    assert plan.details[0].changes == (FieldChange("attempts", "changed", 3, 0),)
    users = {user.username: user.pk for user in User.objects.all()}
    seen = {(users[str(one.username)], one.block_key): one.revision for one in plan.details}
    client.set("ann", BLOCK, {"attempts": 4})
    acted = reset_attempts(BLOCK, **by, if_revisions=seen)
    assert [(one.username, one.skipped) for one in acted.details if one.skipped] == [
        ("ann", "it was changed since: it has revision 3, not 2")
    ]
    assert state_of("ann")["attempts"] == 4


def test_attempts_are_reset_and_nothing_else(client: DjangoXBlockUserStateClient, grace: User) -> None:
    acted = reset_attempts(BLOCK, "ann", actor=grace, **WHY)
    assert numbers(acted) == (1, 1, 0, 0)
    assert state_of("ann") == {"attempts": 0, "answer": "ann"}
    assert score_of("ann") == (1, 2)
    assert state_of("bob")["attempts"] == 3
    newest = next(iter(client.get_history("ann", BLOCK)))
    assert (newest.actor, newest.revision) == ("grace", 3)


@pytest.mark.parametrize("name", ["count_attempts", "num_attempts"])
def test_blocks_have_other_names_for_attempts(client: DjangoXBlockUserStateClient, grace: User, name: str) -> None:
    client.set("ann", BLOCK, {name: 3})
    reset_attempts(BLOCK, "ann", actor=grace, **WHY)
    assert state_of("ann") == {"attempts": 0, "answer": "ann", name: 0}


def test_each_change_is_in_the_log(client: DjangoXBlockUserStateClient, grace: User) -> None:
    acted = reset_attempts(BLOCK, "ann", actor=grace, **WHY)
    [row] = LoggedAction.objects.all()
    module = StudentModule.objects.get(student__username="ann", block__usage_key=str(BLOCK))
    assert (row.run, row.act, row.actor, row.reason) == (acted.id, "reset_attempts", grace, "a broken question")
    assert (row.student_id, row.block_id, str(row.context)) == (module.student_id, module.block_id, str(COURSE))
    assert (row.revision_before, row.revision_after, row.undone_by) == (2, 3, None)
    assert "ann" not in str(row)


SELECTIONS: dict[str, tuple[Any, Any, set[str]]] = {
    "a learner": (None, "ann", {"ann"}),
    "a user": (BLOCK, "user", {"ann"}),
    "an id": (BLOCK, "id", {"ann"}),
    "a list of learners": (BLOCK, ["cid", "ann", "cid"], {"ann", "cid"}),
    "a block": (BLOCK, None, {"ann", "bob", "cid"}),
    "several blocks": ([BLOCK, OTHER, BLOCK], None, {"ann", "bob", "cid"}),
    "a course": (COURSE, None, {"ann", "bob", "cid"}),
    "a learner in a course": (COURSE, "bob", {"bob"}),
}


@pytest.mark.parametrize("selection", SELECTIONS)
def test_learners_and_blocks_are_selected(client: DjangoXBlockUserStateClient, grace: User, selection: str) -> None:
    where, learners, expected = SELECTIONS[selection]
    ann = User.objects.get(username="ann")
    learners = (
        {"user": ann, "id": UserId(str(ann.pk))}.get(learners, learners) if isinstance(learners, str) else learners
    )
    acted = reset_attempts(where, learners, actor=grace, **WHY)
    assert {name for name in ("ann", "bob", "cid") if state_of(name)["attempts"] == 0} == expected
    assert acted.learners == len(expected)
    assert (state_of("ann", OTHER)["attempts"] == 0) == (selection in ("a learner", "several blocks", "a course"))


def test_a_dry_run_tells_what_would_change_and_changes_nothing(
    client: DjangoXBlockUserStateClient, grace: User
) -> None:
    before = [(row.pk, row.revision, row.state) for row in StudentModule.objects.order_by("pk")]
    plan = reset_attempts(COURSE, actor=grace, dry_run=True, **WHY)
    assert [(row.pk, row.revision, row.state) for row in StudentModule.objects.order_by("pk")] == before
    assert not LoggedAction.objects.exists()
    done = reset_attempts(COURSE, actor=grace, **WHY)
    assert plan.id is None
    assert numbers(plan) == numbers(done) == (3, 4, 0, 1)
    assert {(one.username, one.block_key, one.revision, one.fields, one.skipped) for one in plan.details} == {
        ("ann", BLOCK, 2, ("attempts",), ""),
        ("bob", BLOCK, 2, ("attempts",), ""),
        ("cid", BLOCK, 2, ("attempts",), ""),
        ("ann", OTHER, 1, ("attempts",), ""),
        ("ann", WORD, 1, (), "the state counts no attempts"),
    }
    assert {one.new_revision for one in plan.details} == {None}
    assert {(one.revision, one.new_revision) for one in done.details} == {(2, 3), (1, 2), (1, None)}


def test_an_act_that_changes_nothing_leaves_no_trace(client: DjangoXBlockUserStateClient, grace: User) -> None:
    reset_attempts(BLOCK, actor=grace, **WHY)
    assert numbers(reset_attempts(BLOCK, actor=grace, **WHY)) == (3, 0, 3, 0)
    assert LoggedAction.objects.count() == 3


def test_state_and_score_are_deleted_and_come_back(client: DjangoXBlockUserStateClient, grace: User) -> None:
    acted = delete_state(BLOCK, ["ann", "bob"], actor=grace, **WHY)
    assert (state_of("ann"), score_of("ann"), state_of("bob")) == (None, None, None)
    assert acted.id is not None
    undone = undo(acted.id, actor=grace, reason="the wrong block")
    assert numbers(undone) == (2, 2, 0, 0)
    assert (state_of("ann"), score_of("ann")) == ({"attempts": 3, "answer": "ann"}, (1, 2))
    assert [entry.revision for entry in client.get_history("ann", BLOCK)] == [4, 3, 2, 1]
    rows = LoggedAction.objects.filter(run=acted.id)
    assert {row.undone_by for row in rows} == set(LoggedAction.objects.filter(act="undo").values_list("id", flat=True))
    # Once only; and an undo can be undone.
    again = undo(str(acted.id), actor=grace, **WHY)
    assert {one.skipped for one in again.details} == {"it is undone already"}
    assert undone.id is not None
    undo(undone.id, actor=grace, **WHY)
    assert state_of("ann") is None


def test_a_block_that_was_changed_since_is_not_undone(client: DjangoXBlockUserStateClient, grace: User) -> None:
    acted = reset_attempts(BLOCK, ["ann", "bob"], actor=grace, **WHY)
    client.set("ann", BLOCK, {"attempts": 1})
    undone = undo(acted.id or "", actor=grace, **WHY)
    assert numbers(undone) == (2, 1, 0, 1)
    assert [one.skipped for one in undone.details if one.skipped] == ["it was changed since: it has revision 4, not 3"]
    assert (state_of("ann")["attempts"], state_of("bob")["attempts"]) == (1, 3)


def test_one_row_of_an_action_is_undone(client: DjangoXBlockUserStateClient, grace: User) -> None:
    reset_attempts(BLOCK, actor=grace, **WHY)
    row = LoggedAction.objects.get(student__username="bob")
    undo(row.id, actor=grace, **WHY)
    assert [state_of(name)["attempts"] for name in ("ann", "bob", "cid")] == [0, 3, 0]


def test_a_block_without_history_is_not_undone(client: DjangoXBlockUserStateClient, grace: User) -> None:
    acted = delete_state(WORD, "ann", actor=grace, **WHY)
    undone = undo(acted.id or "", actor=grace, **WHY)
    assert [one.skipped for one in undone.details] == ["no history was recorded"]


@pytest.mark.parametrize("id_", [uuid4(), "nonsense"], ids=str)
def test_an_unknown_action_is_not_undone(grace: User, id_: UUID | str) -> None:
    with pytest.raises(ValueError, match=r"no action|badly formed"):
        undo(id_, actor=grace, **WHY)


def test_a_score_is_set_also_where_there_was_no_row(client: DjangoXBlockUserStateClient, grace: User) -> None:
    new = make_block("new")
    acted = override_score([BLOCK, new], ["ann"], grade=2, max_grade=2, actor=grace, **WHY)
    assert numbers(acted) == (1, 2, 0, 0)
    assert (score_of("ann"), score_of("ann", new)) == ((2, 2), (2, 2))
    assert state_of("ann") == {"attempts": 3, "answer": "ann"}
    assert StudentModule.objects.get(block__usage_key=str(new)).state is None
    undo(acted.id or "", actor=grace, **WHY)
    assert (score_of("ann"), score_of("ann", new)) == ((1, 2), None)


def test_a_score_that_is_none_is_refused_at_once(grace: User) -> None:
    with captured() as seen, pytest.raises((ValueError, TypeError)):
        override_score(BLOCK, "ann", grade=float("nan"), max_grade=1, actor=grace, **WHY)
    assert len(seen) == 0


def test_a_revision_is_restored(client: DjangoXBlockUserStateClient, grace: User) -> None:
    client.set("ann", BLOCK, {"answer": "lost"})
    client.set_score("ann", BLOCK, 0, 2)
    restore(BLOCK, "ann", revision=2, actor=grace, **WHY)
    assert (state_of("ann"), score_of("ann")) == ({"attempts": 3, "answer": "ann"}, (1, 2))
    acted = restore(BLOCK, "ann", revision=99, actor=grace, **WHY)
    assert [one.skipped for one in acted.details] == ["there is no revision 99; the newest is 5"]


def test_a_block_without_history_is_not_restored(client: DjangoXBlockUserStateClient, grace: User) -> None:
    acted = restore(WORD, "ann", at=client.get("ann", WORD).updated, actor=grace, **WHY)
    assert [one.skipped for one in acted.details] == ["no history was recorded"]
    assert state_of("ann", WORD) == {"words": ["sky"]}


def test_a_cohort_is_restored_to_a_time(client: DjangoXBlockUserStateClient, grace: User) -> None:
    tuesday = client.get("cid", BLOCK).updated
    client.set("ann", BLOCK, {"answer": "lost"})
    client.set("bob", BLOCK, {"answer": "lost"})
    new = make_block("new")
    client.set("bob", new, {"answer": "later"})
    acted = restore([BLOCK, new], ["ann", "bob"], at=tuesday, actor=grace, **WHY)
    assert acted.changed == 3
    assert [state_of(name)["answer"] for name in ("ann", "bob")] == ["ann", "bob"]
    assert state_of("bob", new) is None


def test_a_time_has_a_zone_and_stands_alone(grace: User) -> None:
    for wrong in ({}, {"revision": 1, "at": datetime.now(UTC)}, {"at": datetime.now(UTC).replace(tzinfo=None)}):
        with pytest.raises(ValueError, match=r"revision|time zone"):
            restore(BLOCK, "ann", actor=grace, reason="x", **wrong)
    with pytest.raises(ValueError, match="at least 1"):
        restore(BLOCK, "ann", revision=0, actor=grace, reason="x")


def test_the_host_scores_anew(client: DjangoXBlockUserStateClient, grace: User) -> None:
    def regrade(by_grace: DjangoXBlockUserStateClient, learner: User, block_key: Any) -> None:
        store = UserStateKeyValueStore(by_grace, learner)
        with store.unit_of_work(guarded=True):
            state = by_grace.get(learner.username, block_key).state or {}
            store.set_score(block_key, 2 if state["answer"] != "bob" else 1, 2)

    acted = rescore(BLOCK, rescorer=regrade, actor=grace, **WHY)
    assert numbers(acted) == (3, 2, 1, 0)
    assert [score_of(name) for name in ("ann", "bob", "cid")] == [(2, 2), (1, 2), (2, 2)]
    assert {entry.actor for entry in client.get_history("ann", BLOCK, limit=1)} == {"grace"}
    undo(acted.id or "", actor=grace, **WHY)
    assert score_of("ann") == (1, 2)


def test_a_dry_run_calls_no_host(client: DjangoXBlockUserStateClient, grace: User) -> None:
    def never(*_: Any) -> None:
        raise AssertionError

    assert numbers(rescore(BLOCK, rescorer=never, actor=grace, dry_run=True, **WHY)) == (3, 3, 0, 0)


def failing_at(name: str, error: Exception | None = None, block: Any = BLOCK) -> Callable[..., None]:
    def rescorer(by: DjangoXBlockUserStateClient, learner: User, block_key: Any) -> None:
        by.set_score(learner.username, block_key, 2, 2)
        if (learner.username, block_key) == (name, block):
            raise error or ServiceUnavailable(name)

    return rescorer


def test_a_block_at_which_the_host_fails_is_skipped_and_the_run_goes_on(
    client: DjangoXBlockUserStateClient, grace: User, caplog: pytest.LogCaptureFixture
) -> None:
    rescorer = failing_at("ann", LookupError("no such answer"))
    where: Any = {"ann": [BLOCK, OTHER], "bob": [BLOCK], "cid": [BLOCK]}
    acted = rescore(where, rescorer=rescorer, actor=grace, **WHY)
    assert numbers(acted) == (3, 3, 0, 1)
    [skipped] = [one for one in acted.details if one.skipped]
    assert (skipped.username, skipped.block_key, skipped.new_revision) == ("ann", BLOCK, None)
    assert skipped.skipped == "the host's function failed: LookupError: no such answer"
    assert [score_of(name) for name in ("ann", "bob", "cid")] == [(1, 2), (2, 2), (2, 2)]
    assert score_of("ann", OTHER) == (2, 2)
    assert [entry.revision for entry in client.get_history("ann", BLOCK)] == [2, 1]
    assert LoggedAction.objects.count() == 3
    assert "Traceback" in caplog.text


def test_an_error_leaves_a_learner_whole_and_the_rest_to_resume(
    client: DjangoXBlockUserStateClient, grace: User
) -> None:
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    with pytest.raises(ServiceUnavailable, match="bob"):
        rescore(BLOCK, rescorer=failing_at("bob"), actor=grace, progress=progress, **WHY)
    assert [score_of(name) for name in ("ann", "bob", "cid")] == [(2, 2), (1, 2), (1, 2)]
    [row] = LoggedAction.objects.all()
    client.set_score("ann", BLOCK, 0, 2)
    acted = rescore(BLOCK, rescorer=failing_at(""), actor=grace, resume=row.run, progress=progress, **WHY)
    # Who was done stays as they have worked on since.
    assert [score_of(name) for name in ("ann", "bob", "cid")] == [(0, 2), (2, 2), (2, 2)]
    assert (acted.id, acted.learners) == (row.run, 2)
    assert seen == [(1, 3), (1, 2), (2, 2)]
    with pytest.raises(ValueError, match="another kind of action"):
        reset_attempts(BLOCK, actor=grace, resume=row.run, **WHY)


def test_unknown_learners_are_named_and_nothing_is_done(client: DjangoXBlockUserStateClient, grace: User) -> None:
    with pytest.raises(UserDoesNotExist, match=r"no user 'ANN', 'nobody'; nothing was done"):
        reset_attempts(BLOCK, ["ann", "ANN", "nobody"], actor=grace, **WHY)
    assert state_of("ann")["attempts"] == 3


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"actor": None}, ValueError),
        ({"actor": AnonymousUser()}, ValueError),
        ({"actor": User(username="new")}, ValueError),
        ({"reason": " "}, ValueError),
        ({"reason": None}, TypeError),
        ({"where": None, "learners": None}, ValueError),
        ({"where": []}, ValueError),
        ({"where": "block-v1:x"}, TypeError),
        ({"where": [str(BLOCK)]}, TypeError),
        ({"learners": 5}, TypeError),
        ({"learners": ["ann", None]}, ValueError),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_before_any_statement(grace: User, wrong: Any, error: type[Exception]) -> None:
    arguments = {"where": BLOCK, "learners": "ann", "actor": grace, "reason": "x", **wrong}
    with captured() as seen, pytest.raises(error):
        reset_attempts(**arguments)
    assert len(seen) == 0


@pytest.mark.parametrize("policy", [Asked(refuse)], ids=["refuses"])
def test_the_policy_is_asked_before_any_statement(grace: User, policy: Policy) -> None:
    with captured() as seen, pytest.raises(PermissionDenied, match="'grace' may not act on the state of 'nobody' in"):
        reset_attempts(BLOCK, "nobody", actor=grace, policy=policy, **WHY)
    with (
        captured() as of_course,
        pytest.raises(PermissionDenied, match=f"of all learners in {COURSE}".replace("+", ".")),
    ):
        delete_state(COURSE, actor=grace, policy=policy, **WHY)
    assert len(seen) == len(of_course) == 0


def test_an_undo_asks_for_each_learner(client: DjangoXBlockUserStateClient, grace: User) -> None:
    policy = Asked(lambda question: question.action == "act")
    acted = reset_attempts(BLOCK, ["ann", "bob"], actor=grace, policy=policy, **WHY)
    with pytest.raises(PermissionDenied):
        undo(acted.id or "", actor=grace, policy=Asked(refuse), **WHY)
    assert state_of("ann")["attempts"] == 0
    assert [question[2:] for question in policy.questions] == [("ann", COURSE, BLOCK), ("bob", COURSE, BLOCK)]


@pytest.mark.parametrize("stage", ["shadow", "lead"])
def test_actions_wait_for_the_end_of_copies(client: DjangoXBlockUserStateClient, grace: User, stage: str) -> None:
    with override_settings(XBLOCK_USER_STATE={"OPENEDX_STAGE": stage}):
        with pytest.raises(RuntimeError, match=f"OPENEDX_STAGE '{stage}'"):
            reset_attempts(BLOCK, "ann", actor=grace, **WHY)
        with pytest.raises(RuntimeError):
            override_score(BLOCK, "ann", grade=1, max_grade=1, actor=grace, **WHY)
    assert state_of("ann")["attempts"] == 3


def damage(learner: str, text: str = "[1]") -> None:
    """Let SQL replace the text of a state, past the client."""
    block = identify_block(BLOCK).id
    StudentModule._base_manager.filter(student__username=learner, block_id=block).update(state=text)


def test_a_state_that_cant_be_read_keeps_its_attempts(client: DjangoXBlockUserStateClient, grace: User) -> None:
    damage("ann")
    acted = reset_attempts(BLOCK, actor=grace, **WHY)
    assert numbers(acted) == (3, 2, 0, 1)
    [skipped] = [one.skipped for one in acted.details if one.skipped]
    assert skipped.startswith("the stored state can't be read: it is not ")
    assert skipped.endswith("; restore an earlier revision, or delete the state")
    acted = rescore(BLOCK, "ann", rescorer=lambda *_: None, actor=grace, **WHY)
    assert numbers(acted) == (1, 0, 0, 1)


@pytest.mark.parametrize("text", ["[1]", "garbage"])
def test_a_state_that_cant_be_read_is_mended(client: DjangoXBlockUserStateClient, grace: User, text: str) -> None:
    by: Any = {"actor": grace, **WHY}
    for name in ("ann", "bob"):
        damage(name, text)
    plan = restore(BLOCK, "ann", revision=2, **by, dry_run=True)
    [detail] = plan.details
    assert (plan.changed, {*detail.fields}, bool(detail.damage)) == (1, {"answer", "attempts"}, True)
    restored = restore(BLOCK, "ann", revision=2, **by)
    assert (numbers(restored), state_of("ann")) == ((1, 1, 0, 0), {"attempts": 3, "answer": "ann"})
    deleted = delete_state(BLOCK, "bob", **by)
    assert (numbers(deleted), state_of("bob"), score_of("bob")) == ((1, 1, 0, 0), None, None)
    assert undo(deleted.id or "", **by).changed == 1
    assert state_of("bob") == {"attempts": 3, "answer": "bob"}
    # Every entry can be read: the one after the stranger's text builds on none.
    assert [entry.state for entry in client.get_history("bob", BLOCK)][:2] == [{"attempts": 3, "answer": "bob"}, None]


def test_a_score_is_set_beside_a_state_that_cant_be_read(client: DjangoXBlockUserStateClient, grace: User) -> None:
    damage("ann")
    by: Any = {"actor": grace, **WHY}
    acted = override_score(BLOCK, "ann", grade=2, max_grade=2, **by)
    assert (numbers(acted), score_of("ann")) == ((1, 1, 0, 0), (2, 2))
    assert StudentModule._base_manager.get(student__username="ann", block_id=identify_block(BLOCK).id).state == "[1]"
    restore(BLOCK, "ann", revision=2, **by)
    assert (state_of("ann"), score_of("ann")) == ({"attempts": 3, "answer": "ann"}, (1, 2))


def test_statements_do_not_grow_with_the_blocks_of_a_learner(client: DjangoXBlockUserStateClient, grace: User) -> None:
    blocks = make_blocks(30)
    client.set_many("bob", {block: {"attempts": 1} for block in blocks})
    client.set_many("cid", {block: {"attempts": 1} for block in blocks[:3]})
    with captured() as few:
        reset_attempts(blocks[:3], "cid", actor=grace, **WHY)
    with captured() as many:
        reset_attempts(blocks, "bob", actor=grace, **WHY)
    assert len(few) == len(many)

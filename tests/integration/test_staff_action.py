"""``manage.py staff_action``."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.factories import COURSE, make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import LoggedAction, StudentModule

pytestmark = pytest.mark.django_db

BLOCK, OTHER = make_blocks(2)
WHO = ("--actor", "grace", "--reason", "a broken question")


@pytest.fixture(autouse=True)
def client() -> DjangoXBlockUserStateClient:
    client = DjangoXBlockUserStateClient()
    for user in make_learners("ann", "bob", "grace")[:2]:
        client.set(user.username, BLOCK, {"attempts": 3})
    return client


def run(*arguments: str, who: tuple[str, ...] = WHO) -> str:
    out = StringIO()
    call_command("staff_action", *arguments, *who, stdout=out)
    return out.getvalue()


def attempts(client: DjangoXBlockUserStateClient) -> list[int]:
    return [(client.get(name, BLOCK).state or {})["attempts"] for name in ("ann", "bob")]


def twice(client: DjangoXBlockUserStateClient, learner: Any, block_key: Any) -> None:
    client.set_score(learner.username, block_key, 2, 2)


def test_a_dry_run_then_the_action_then_its_undoing(client: DjangoXBlockUserStateClient) -> None:
    plan = run("reset_attempts", "--course", str(COURSE), "--dry-run")
    assert "2 learners; 2 blocks of theirs would change" in plan
    assert f"ann, {BLOCK}: from revision 1" in plan
    assert attempts(client) == [3, 3]
    done = run("reset_attempts", "--course", str(COURSE))
    assert "2 blocks of theirs changed" in done
    assert attempts(client) == [0, 0]
    id_ = str(LoggedAction.objects.filter(act="reset_attempts")[0].run)
    assert id_ in done
    run("undo", "--action-id", id_)
    assert attempts(client) == [3, 3]
    row = LoggedAction.objects.filter(act="undo")[0]
    assert (row.actor.username, row.reason) == ("grace", "a broken question")


def test_a_cohort_is_a_file(client: DjangoXBlockUserStateClient, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort.txt"
    cohort.write_text("bob\n\n")
    run("reset_attempts", "--learners", str(cohort), "--block", str(BLOCK))
    assert attempts(client) == [3, 0]
    cohort.write_text("\n")
    with pytest.raises(CommandError, match="names nobody"):
        run("reset_attempts", "--learners", str(cohort), "--block", str(BLOCK))


def test_each_action_takes_its_options(client: DjangoXBlockUserStateClient) -> None:
    run("override_score", "--learner", "ann", "--block", str(BLOCK), "--grade", "1", "--max-grade", "2")
    assert client.get_scores("ann", [BLOCK])[BLOCK][:2] == (1, 2)
    run("rescore", "--block", str(BLOCK), "--rescorer", f"{__name__}.twice")
    assert client.get_scores("bob", [BLOCK])[BLOCK][:2] == (2, 2)
    run("delete_state", "--learner", "ann")
    run("restore", "--learner", "ann", "--block", str(BLOCK), "--revision", "2")
    assert client.get_scores("ann", [BLOCK])[BLOCK][:2] == (1, 2)


def test_a_move_and_deletions_for_good_are_counted_first(client: DjangoXBlockUserStateClient) -> None:
    client.set("bob", OTHER, {"attempts": 1})
    move = ("move_state", "--block", str(BLOCK), "--to", str(OTHER))
    plan = run(*move, "--dry-run")
    assert "would move 1 states of learners, and 0 that all learners share; 1 stay" in plan
    assert f"bob, {BLOCK}: stays: there is a state under the new key" in plan
    assert attempts(client) == [3, 3]
    assert "moved 1 states" in run(*move, "--learner", "ann")
    for act, where in (("delete_block", ("--block", str(OTHER))), ("delete_course", ("--course", str(COURSE)))):
        number = 2 if act == "delete_block" else 1
        assert f"would delete {number} states" in run(act, *where, "--dry-run")
        assert f"deleted {number} states" in run(act, *where)
    assert not StudentModule._base_manager.exists()
    assert list(LoggedAction.objects.order_by("created").values_list("act", flat=True)) == [
        "move_state",
        "delete_block",
        "delete_course",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("reset_attempts",), "name blocks, a course, or learners"),
        (("reset_attempts", "--learner", "nobody"), "there is no user 'nobody'"),
        (("reset_attempts", "--course", "moon"), "not a key"),
        (("reset_attempts", "--block", str(BLOCK), "--course", str(COURSE)), "not both"),
        (("reset_attempts", "--learner", "ann", "--grade", "1"), "does not take --grade"),
        (("restore", "--learner", "ann"), "give either revision or at"),
        (("restore", "--learner", "ann", "--at", "2026-01-01"), "time zone"),
        (("rescore", "--learner", "ann", "--rescorer", "nowhere.f"), "--rescorer"),
        (("undo",), "needs --action-id"),
        (("delete_block", "--course", str(COURSE)), "delete_block needs one --block"),
        (("delete_course",), "delete_course needs --course"),
        (("delete_course", "--course", str(COURSE), "--learner", "ann"), "does not take --learner"),
        (("move_state", "--block", str(BLOCK)), "move_state needs --to"),
        (("move_state", "--course", str(COURSE), "--to", "moon"), "not a key"),
        (("undo", "--action-id", "00000000-0000-0000-0000-000000000000"), "no action"),
        (("reset_attempts", "--learners", "/nowhere/file"), "--learners"),
    ],
    ids=str,
)
def test_wrong_arguments_are_one_line(
    client: DjangoXBlockUserStateClient, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(CommandError, match=message) as raised:
        run(*arguments)
    assert "\n" not in str(raised.value)
    assert attempts(client) == [3, 3]


def test_the_actor_must_be_a_user() -> None:
    with pytest.raises(CommandError, match="--actor: there is no user 'ghost'"):
        run("reset_attempts", "--learner", "ann", who=("--actor", "ghost", "--reason", "x"))


def test_a_learner_is_exported_and_erased(client: DjangoXBlockUserStateClient, tmp_path: Path) -> None:
    out = StringIO()
    call_command("export_learner", "ann", str(tmp_path / "for-ann"), *WHO, stdout=out)
    assert "1 states and 1 entries" in out.getvalue()
    data = json.loads((tmp_path / "for-ann" / "learner.json").read_text())
    assert [row["state"] for row in data["states"]] == [{"attempts": 3}]
    assert "<!doctype html>" in (tmp_path / "for-ann" / "learner.html").read_text()
    out = StringIO()
    call_command("erase_learner", "ann", "--dry-run", *WHO, stdout=out)
    assert (json.loads(out.getvalue())["rows"]["StudentModule"], attempts(client)) == (1, [3, 3])
    call_command("erase_learner", "ann", *WHO, stdout=out)
    assert list(client.get_many("ann", [BLOCK])) == []
    for command in (("erase_learner", "nobody"), ("export_learner", "nobody", str(tmp_path))):
        with pytest.raises(CommandError, match="there is no user 'nobody'"):
            call_command(*command, *WHO)

"""A replica that lags serves iterations, exports and checks by choice; a learner's own reads and names never."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_blocks, make_learners
from tests.integration.replicas import ALIAS, Replica
from tests.integration.replicas import replica as replica  # noqa: PLC0414 (a fixture)
from tests.integration.replicas import unreachable_replica as unreachable_replica  # noqa: PLC0414 (a fixture)
from tests.integration.shipping import relay
from tests.integration.test_learner_pinned import each_operation
from xblock_user_state.archive.format import read_export
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.interface import ServiceUnavailable, XBlockUserState
from xblock_user_state.maintenance.modified import rows_modified
from xblock_user_state.management.commands.migrate_all import allowed_databases
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.testing import LearnerStateDatabases

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BLOCK = make_block()
TWO = pytest.mark.extended_history
SITES: dict[str, dict[str, Any]] = {
    "default": {},
    "at once": {"EXTENDED_HISTORY": True},
    "by relay": {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"},
}


@pytest.fixture
def client(replica: Replica, settings: Settings) -> DjangoXBlockUserStateClient:
    settings.XBLOCK_USER_STATE = {}
    make_learners("ann", "bob")
    return DjangoXBlockUserStateClient()


@pytest.fixture(params=[pytest.param(name, marks=() if name == "default" else TWO) for name in SITES])
def site(request: pytest.FixtureRequest, settings: Settings, client: DjangoXBlockUserStateClient) -> str:
    """Name of a site by the place of its history."""
    settings.XBLOCK_USER_STATE = SITES[request.param]
    return str(request.param)


def numbers(found: Any) -> dict[str | None, int]:
    """Return the number in each state, by username."""
    states: list[XBlockUserState] = list(found)
    return {state.username: (state.state or {})["n"] for state in states}


def check(*arguments: str) -> str:
    output = StringIO()
    call_command("check_history", *arguments, stdout=output)
    return output.getvalue()


def exported(folder: Path, *arguments: str) -> list[tuple[str, int]]:
    """Export the history, and return username and revision of each entry. None may be damaged."""
    call_command("export_history", str(folder), *arguments, stdout=StringIO())
    entries = list(read_export(folder))
    assert not any("damaged" in entry for entry in entries)
    return [(entry["learner"], entry["revision"]) for entry in entries]


def test_an_iteration_reads_the_replica_and_names_the_users_of_now(
    client: DjangoXBlockUserStateClient, replica: Replica, settings: Settings
) -> None:
    client.set("ann", BLOCK, {"n": 1})
    replica.catch_up()
    User.objects.filter(username="ann").update(username="anna")
    client.set("anna", BLOCK, {"n": 2})
    client.set("bob", BLOCK, {"n": 1})
    iterations: list[Callable[..., Any]] = [
        lambda **source: client.iter_all_for_block(BLOCK, **source),
        lambda **source: client.iter_all_for_course(COURSE, **source),
    ]
    for iterate in iterations:
        settings.XBLOCK_USER_STATE = {}
        assert numbers(iterate()) == {"anna": 2, "bob": 1}
        assert numbers(iterate(using=ALIAS)) == {"anna": 1}
        settings.XBLOCK_USER_STATE = {"REPLICA": ALIAS}
        assert numbers(iterate()) == {"anna": 1}
        assert numbers(iterate(using="default")) == {"anna": 2, "bob": 1}


def test_an_iteration_that_must_have_a_revision_reads_the_primary_until_the_replica_has_it(
    client: DjangoXBlockUserStateClient, replica: Replica
) -> None:
    client.set("ann", BLOCK, {"n": 1})
    client.set("bob", BLOCK, {"n": 1})
    replica.catch_up()
    client.set("ann", BLOCK, {"n": 2})
    has = {("ann", BLOCK): 1, ("bob", BLOCK): 1}
    assert numbers(client.iter_all_for_block(BLOCK, using=ALIAS, at_least=has)) == {"ann": 1, "bob": 1}
    lacks = {**has, ("ann", BLOCK): client.get("ann", BLOCK).revision or 0}
    assert numbers(client.iter_all_for_block(BLOCK, using=ALIAS, at_least=lacks)) == {"ann": 2, "bob": 1}
    assert numbers(client.iter_all_for_course(COURSE, using=ALIAS, at_least=lacks)) == {"ann": 2, "bob": 1}
    lacks_block = {("ann", make_block("new")): 1}
    assert numbers(client.iter_all_for_course(COURSE, using=ALIAS, at_least=lacks_block)) == {"ann": 2, "bob": 1}
    replica.catch_up()
    client.set("bob", BLOCK, {"n": 2})
    assert numbers(client.iter_all_for_block(BLOCK, using=ALIAS, at_least=lacks)) == {"ann": 2, "bob": 1}


def test_shared_rows_have_revisions_without_a_learner(client: DjangoXBlockUserStateClient, replica: Replica) -> None:
    scope = Scope.user_state_summary
    client.set(None, BLOCK, {"n": 1}, scope)
    replica.catch_up()
    client.set(None, BLOCK, {"n": 2}, scope)
    for revision in (1, 2):
        found = client.iter_all_for_block(BLOCK, scope, using=ALIAS, at_least={(None, BLOCK): revision})
        assert numbers(found) == {None: revision}


def test_a_learners_own_calls_never_ask_a_replica(
    unreachable_replica: None, settings: Settings, tmp_path: Path
) -> None:
    settings.XBLOCK_USER_STATE = {"REPLICA": ALIAS}
    make_learners("ann")
    client = DjangoXBlockUserStateClient()
    assert len(list(each_operation(client))) > 20
    with pytest.raises(ServiceUnavailable, match=ALIAS):
        next(client.iter_all_for_block(BLOCK))
    for command in (["check_history"], ["export_history", str(tmp_path)]):
        with pytest.raises(CommandError, match=f"the database '{ALIAS}' can't serve learner state"):
            call_command(*command)


def test_an_unknown_alias_is_named(client: DjangoXBlockUserStateClient, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="DATABASES has no 'nowhere'; it has 'default'"):
        next(client.iter_all_for_block(BLOCK, using="nowhere"))
    for command in (["check_history"], ["export_history", str(tmp_path)]):
        with pytest.raises(CommandError, match="--using: DATABASES has no 'nowhere'"):
            call_command(*command, using="nowhere")


def test_modified_rows_come_from_the_replica(
    client: DjangoXBlockUserStateClient, replica: Replica, settings: Settings
) -> None:
    client.set("ann", BLOCK, {"n": 1})
    replica.catch_up()
    client.set("bob", BLOCK, {"n": 1})
    since = datetime.now(UTC) - timedelta(days=1)
    assert [row.username for row in rows_modified(since, using=ALIAS)] == ["ann"]
    settings.XBLOCK_USER_STATE = {"REPLICA": ALIAS}
    assert [row.username for row in rows_modified(since)] == ["ann"]
    assert len(list(rows_modified(since, using="default"))) == 2


def test_a_check_of_a_replica_that_lags_finds_no_fault(
    site: str, client: DjangoXBlockUserStateClient, replica: Replica, settings: Settings
) -> None:
    """Rows have newer entries in the history database, and entries there have no rows yet, or none any more."""
    for name in ("ann", "bob"):
        client.set_many(name, {block: {"n": 1} for block in make_blocks(3)})
    replica.catch_up()
    client.set_many("ann", {block: {"n": 2} for block in make_blocks(6)})
    StudentModule.objects.filter(student__username="bob").first().delete()  # type: ignore[union-attr]
    if site != "default":
        relay()
    # The entry of the row that is gone is in the outbox of the replica, or in no store any more.
    expected = {"default": (6, 6), "at once": (5, 8), "by relay": (6, 9)}[site]
    assert check("--using", ALIAS) == "{} rows with {} entries were checked.\n".format(*expected)
    settings.XBLOCK_USER_STATE = {**SITES[site], "REPLICA": ALIAS}
    assert check() == check("--using", ALIAS)
    assert check("--using", "default") == "8 rows with 11 entries were checked.\n"


def test_a_check_of_a_replica_leaves_the_primary_alone_and_names_faults_of_both(
    client: DjangoXBlockUserStateClient, replica: Replica
) -> None:
    for name in ("ann", "bob"):
        client.set_many(name, {block: {"n": 1} for block in make_blocks(3)})
    replica.catch_up()
    with CaptureQueriesContext(connection) as queries:
        check("--using", ALIAS)
    table = connection.ops.quote_name(StudentModule._meta.db_table)
    assert [query["sql"] for query in queries if table in query["sql"]] == []

    StudentModuleHistory.objects.filter(student__username="ann")._raw_delete("default")
    StudentModule.objects.filter(student__username="bob")._raw_delete("default")
    replica.catch_up()
    with pytest.raises(CommandError, match=r"^3 rows disagree .* 3 entries belong to no state"):
        check("--using", ALIAS)
    client.set_many("bob", {block: {"n": 2} for block in make_blocks(3)})
    StudentModule.objects.filter(student__username="ann").delete()
    check("--using", ALIAS)


def test_an_export_has_the_entries_of_the_replica(
    client: DjangoXBlockUserStateClient, replica: Replica, tmp_path: Path, settings: Settings
) -> None:
    client.set("ann", BLOCK, {"n": 1})
    client.set("ann", BLOCK, {"n": 2})
    replica.catch_up()
    client.set("ann", BLOCK, {"n": 3})
    client.set("bob", BLOCK, {"n": 1})
    assert exported(tmp_path / "old", "--using", ALIAS) == [("ann", 2), ("ann", 1)]
    assert exported(tmp_path / "new") == [("ann", 3), ("ann", 2), ("ann", 1), ("bob", 1)]
    settings.XBLOCK_USER_STATE = {"REPLICA": ALIAS}
    assert exported(tmp_path / "same", "--context", str(COURSE)) == [("ann", 2), ("ann", 1)]
    # Bob is younger than the replica, and is no unknown learner.
    assert exported(tmp_path / "bob", "--learner", "bob") == []


@TWO
def test_an_export_is_whole_where_entries_were_shipped_since(
    client: DjangoXBlockUserStateClient, replica: Replica, settings: Settings, tmp_path: Path
) -> None:
    settings.XBLOCK_USER_STATE = SITES["by relay"]
    client.set("ann", BLOCK, {"n": 1})
    relay()
    client.set("ann", BLOCK, {"n": 2})
    replica.catch_up()
    client.set("ann", BLOCK, {"n": 3})
    relay()
    assert extended_model()._base_manager.using("student_module_history").count() == 3
    found = exported(tmp_path / "ahead", "--using", ALIAS)
    assert found in ([("ann", 3), ("ann", 2), ("ann", 1)], [("ann", 2), ("ann", 1)])


@TWO
@pytest.mark.parametrize("revisions", [1, 2, 3, 4])
def test_an_export_mixes_no_lives_of_a_row(
    client: DjangoXBlockUserStateClient, replica: Replica, settings: Settings, tmp_path: Path, revisions: int
) -> None:
    """The replica has an entry of a life that was deleted for good, the history database those of the next life."""
    settings.XBLOCK_USER_STATE = SITES["by relay"]
    for number in (1, 2):
        client.set("ann", BLOCK, {"n": number, "text": "the first life"})
    relay()
    client.set("ann", BLOCK, {"n": 3, "text": "the first life"})
    replica.catch_up()
    StudentModule.objects.all().delete()
    client = DjangoXBlockUserStateClient()
    for number in range(revisions):
        client.set("ann", BLOCK, {"n": number, "text": "the second life"})
    relay()
    assert exported(tmp_path / "export", "--using", ALIAS) == [("ann", number) for number in range(revisions, 0, -1)]


def test_a_replica_is_not_migrated_and_hosts_may_ask_it_in_tests(replica: Replica, settings: Settings) -> None:
    assert ALIAS in allowed_databases()
    settings.XBLOCK_USER_STATE = {"REPLICA": ALIAS}
    assert ALIAS not in allowed_databases()
    assert ALIAS in LearnerStateDatabases.databases

"""Usernames: unknown, renamed, reused, equal except for case; and the actor that an entry records."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings
from xblock.fields import Scope

from tests.factories import make_block, make_learners
from tests.integration.rows import everything_and_keys
from tests.integration.statements import captured
from xblock_user_state.archive.format import read_export
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import DoesNotExist, PermissionDenied, UserDoesNotExist
from xblock_user_state.models import StudentModuleHistory

pytestmark = pytest.mark.django_db
BLOCK = make_block()


@pytest.fixture
def ann() -> User:
    [user] = make_learners("ann")
    return user


def test_reading_for_an_unknown_user_finds_nothing(ann: User) -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCK, {"a": 1})
    for name in ("nobody", "ann2", "an", "ANN2", "a_n", "%", "x" * 300, "ann' OR '1'='1", "🪐"):
        assert list(client.get_many(name, [BLOCK])) == []
        assert client.get_scores(name, [BLOCK]) == {}
        with pytest.raises(DoesNotExist):
            client.get(name, BLOCK)
        with pytest.raises(DoesNotExist):
            next(client.get_history(name, BLOCK))


def _batch(client: DjangoXBlockUserStateClient, name: str) -> None:
    with client.batch(name) as batch:
        batch.set(BLOCK, {"a": 1})
        batch.set(BLOCK, {"a": 1}, Scope.user_state_summary)


@pytest.mark.parametrize("name", ["nobody", "x" * 300, "a\x00b", "a\ud800b"], ids=ascii)
def test_writing_for_an_unknown_user_is_an_error_that_names_the_user(ann: User, name: str) -> None:
    client = DjangoXBlockUserStateClient()
    before = everything_and_keys()
    for scope, key in ((Scope.user_state, BLOCK), (Scope.preferences, "problem"), (Scope.user_info, None)):
        with pytest.raises(UserDoesNotExist) as raised:
            client.set(name, key, {"a": 1}, scope)
        assert repr(name) in str(raised.value)
        assert isinstance(raised.value, DoesNotExist)
        with pytest.raises(client.UserDoesNotExist):
            client.delete(name, key, scope)
    with pytest.raises(UserDoesNotExist):
        client.set_score(name, BLOCK, 1, 2)
    with pytest.raises(UserDoesNotExist):
        _batch(client, name)
    assert everything_and_keys() == before


def test_a_user_who_appears_is_found_by_the_same_client() -> None:
    client = DjangoXBlockUserStateClient()
    with pytest.raises(UserDoesNotExist):
        client.set("ann", BLOCK, {"a": 1})
    make_learners("ann")
    client.set("ann", BLOCK, {"a": 1})
    assert client.get("ann", BLOCK).state == {"a": 1}


def test_state_follows_a_renamed_user(ann: User) -> None:
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"a": 1})
    ann.username = "anna"
    ann.save()
    client = DjangoXBlockUserStateClient()
    assert client.get("anna", BLOCK).state == {"a": 1}
    assert [entry.username for entry in client.get_history("anna", BLOCK)] == ["anna"]
    assert [found.username for found in client.iter_all_for_block(BLOCK)] == ["anna"]
    assert list(client.get_many("ann", [BLOCK])) == []


def test_a_freed_name_never_shows_anothers_state(ann: User) -> None:
    """Users are cached in one client object only, never in the process."""
    DjangoXBlockUserStateClient().set("ann", BLOCK, {"of": "the first ann"})
    ann.username = "anna"
    ann.save()
    make_learners("ann")
    client = DjangoXBlockUserStateClient()
    assert list(client.get_many("ann", [BLOCK])) == []
    client.set("ann", BLOCK, {"of": "the second ann"})
    assert DjangoXBlockUserStateClient().get("anna", BLOCK).state == {"of": "the first ann"}
    assert DjangoXBlockUserStateClient(ann).get("anna", BLOCK).state == {"of": "the first ann"}


def test_a_client_remembers_its_users_only_itself(ann: User) -> None:
    for _ in range(2):
        client = DjangoXBlockUserStateClient()
        for expected in (2, 1):
            with captured() as statements:
                list(client.get_many("ann", [BLOCK]))
            assert len(statements) == expected


class _Replica:
    """A router that reads everything from another database, which no lookup of ours may reach."""

    def db_for_read(self, *_: Any, **__: Any) -> str:
        return "replica"

    def db_for_write(self, *_: Any, **__: Any) -> str:
        return "default"


def test_names_are_looked_up_where_users_are_written(ann: User, settings: Settings) -> None:
    """A replica that lags lacks a new user, and gives a freed name to the learner who had it."""
    settings.DATABASE_ROUTERS = [_Replica()]
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 2)
    for reader in (client, DjangoXBlockUserStateClient()):
        assert reader.get("ann", BLOCK).state == {"a": 1}
        assert reader.get_scores("ann", [BLOCK])[BLOCK].grade == 1
        assert len(list(reader.get_history("ann", BLOCK))) == 2
        assert [found.username for found in reader.iter_all_for_block(BLOCK)] == ["ann"]
        assert [found.username for found in reader.iter_all_for_course(BLOCK.context_key)] == ["ann"]
    StudentModuleHistory.objects.using("default").filter(revision=1)._raw_delete("default")
    with pytest.raises(CommandError):
        call_command("check_history", stdout=StringIO())
    assert _export("ann") == ["ann"]


def _export(username: str) -> list[str]:
    with TemporaryDirectory() as folder:
        call_command("export_history", f"{folder}/export", learner=username, stdout=StringIO())
        return [entry["learner"] for entry in read_export(Path(folder) / "export")]


def test_names_that_differ_in_case_are_different_users(ann: User) -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCK, {"of": "ann"})
    for name in ("Ann", "ANN"):
        assert list(client.get_many(name, [BLOCK])) == []
        with pytest.raises(UserDoesNotExist):
            client.set(name, BLOCK, {"of": name})


@pytest.mark.skipif(connection.vendor == "mysql", reason="Django's usernames are unique regardless of case there")
def test_users_whose_names_differ_in_case_only_have_their_own_state(ann: User) -> None:
    make_learners("Ann", "ANN")
    client = DjangoXBlockUserStateClient()
    for name in ("ann", "Ann", "ANN"):
        client.set(name, BLOCK, {"of": name})
        client.set(name, "problem", {"of": name}, Scope.preferences)
    for name in ("ann", "Ann", "ANN"):
        assert client.get(name, BLOCK).state == {"of": name}
        assert client.get(name, "problem", Scope.preferences).state == {"of": name}
    assert {found.username for found in client.iter_all_for_block(BLOCK)} == {"ann", "Ann", "ANN"}


@pytest.mark.skipif(connection.vendor != "mysql", reason="only MySQL compares names without their accents")
def test_names_that_mysql_takes_for_the_same_are_not(ann: User) -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCK, {"of": "ann"})
    for name in ("änn", "ann ", "Ann"):
        assert User.objects.filter(username=name).exists()
        assert list(client.get_many(name, [BLOCK])) == []


def test_history_names_the_user_that_the_client_works_for(ann: User) -> None:
    [staff] = make_learners("staff")
    DjangoXBlockUserStateClient(ann).set("ann", BLOCK, {"a": 1})
    DjangoXBlockUserStateClient(staff).set("ann", BLOCK, {"a": 2})
    DjangoXBlockUserStateClient(staff).set_score("ann", BLOCK, 1, 2)
    DjangoXBlockUserStateClient().delete("ann", BLOCK)
    entries = StudentModuleHistory.objects.order_by("revision")
    assert [entry.actor_id for entry in entries] == [ann.pk, staff.pk, staff.pk, None]
    assert {entry.student_id for entry in entries} == {ann.pk}


@pytest.mark.parametrize("user", [None, AnonymousUser()], ids=["none", "anonymous"])
def test_a_client_of_nobody_works_for_any_name(ann: User, user: AnonymousUser | None) -> None:
    client = DjangoXBlockUserStateClient(user)
    client.set("ann", BLOCK, {"a": 1})
    assert client.get("ann", BLOCK).state == {"a": 1}
    with pytest.raises(PermissionDenied):
        client.set("", BLOCK, {"a": 1})
    assert StudentModuleHistory.objects.get().actor_id is None


def test_a_client_of_one_user_works_for_others_too(ann: User) -> None:
    make_learners("bob")
    client = DjangoXBlockUserStateClient(ann)
    client.set("bob", BLOCK, {"of": "bob"})
    assert list(client.get_many("ann", [BLOCK])) == []
    assert client.get("bob", BLOCK).state == {"of": "bob"}


def test_learners_who_are_gone_are_left_out_of_an_iteration(ann: User) -> None:
    """If users live in another database, their rows stay until they are deleted there."""
    client = DjangoXBlockUserStateClient()
    names = [f"learner{number}" for number in range(7)]
    for user in make_learners(*names):
        client.set(user.username, BLOCK, {"of": user.username})
    User.objects.filter(username__in=["learner0", "learner3", "learner4", "learner6"])._raw_delete("default")
    for size in (1, 2, 3, 100):
        found = client.iter_all_for_block(BLOCK, batch_size=size)
        assert {item.username for item in found} == {"learner1", "learner2", "learner5"}
        found = client.iter_all_for_course(BLOCK.context_key, batch_size=size)
        assert {item.username for item in found} == {"learner1", "learner2", "learner5"}

"""A real standby of PostgreSQL that lags: reports read it by choice, and a proxy may send reads to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections, transaction

from scripts.database_servers import BinariesMissing, standby
from scripts.postgresql_versions import is_chosen
from tests import citus
from tests.acceptance.scene import problems
from tests.acceptance.waiting import wait_until
from tests.factories import make_block
from tests.integration.replicas import ALIAS, allow, splitting
from tests.integration.rows import assert_history_is_gapless
from xblock_user_state.archive import read_export
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import StudentModule
from xblock_user_state.store import hot_rows

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="a standby of PostgreSQL"),
    pytest.mark.skipif(is_chosen(), reason="npm's package of PostgreSQL has no pg_basebackup"),
    pytest.mark.skipif(bool(citus.URL), reason="a standby of a coordinator still reads from the workers"),
    pytest.mark.skipif(bool(connection.settings_dict["PASSWORD"]), reason="the standby's account has no password"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300),
]

BLOCK = make_block()


@pytest.fixture(scope="module")
def port(django_db_setup: None) -> Iterator[str]:
    """The port of a standby of the run's server."""
    settings = connection.settings_dict
    try:
        with standby(settings["HOST"], str(settings["PORT"] or 5432)) as server:
            yield server.url.rpartition(":")[2].partition("/")[0]
    except BinariesMissing as missing:
        if os.environ.get("REQUIRE_DATABASES") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


class Standby:
    """The standby, under the alias ``replica``. It replays changes only when it is told."""

    def pause(self) -> None:
        """Replay nothing from now on."""
        _ask(ALIAS, "SELECT pg_wal_replay_pause()")
        wait_until(lambda: all(_ask(ALIAS, "SELECT pg_get_wal_replay_pause_state() = 'paused'")))

    def catch_up(self) -> None:
        """Replay all changes until now, and stop again."""
        self.resume()
        [position] = _ask("default", "SELECT pg_current_wal_lsn()")
        wait_until(lambda: all(_ask(ALIAS, f"SELECT pg_last_wal_replay_lsn() >= '{position}'")))
        self.pause()

    def resume(self) -> None:
        """Replay changes as they come."""
        _ask(ALIAS, "SELECT pg_wal_replay_resume()")


def _ask(alias: str, sql: str) -> list[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return [value for (value,) in cursor.fetchall()]


@pytest.fixture
def lagging(transactional_db: None, port: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standby]:
    monkeypatch.setitem(connections.settings, ALIAS, {**connection.settings_dict, "PORT": port})
    allow(ALIAS)
    found = Standby()
    found.catch_up()
    yield found
    found.resume()
    connections[ALIAS].close()
    del connections[ALIAS]


@pytest.fixture
def ann(lagging: Standby) -> User:
    ann = get_user_model().objects.create_user("ann")
    lagging.catch_up()
    return ann


def usernames(**source: object) -> list[str | None]:
    found = DjangoXBlockUserStateClient().iter_all_for_block(BLOCK, **source)  # type: ignore[arg-type]
    return sorted(state.username or "" for state in found)


def test_reports_read_the_standby_and_no_learner_is_missing(lagging: Standby, ann: User, tmp_path: Path) -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", BLOCK, {"n": 1})
    lagging.catch_up()
    get_user_model().objects.create_user("bob")
    client.set("bob", BLOCK, {"n": 1})
    client.set("ann", BLOCK, {"n": 2})
    assert usernames(using=ALIAS) == ["ann"]
    assert usernames(using=ALIAS, at_least={("ann", BLOCK): 2}) == ["ann", "bob"]
    output = StringIO()
    call_command("check_history", using=ALIAS, stdout=output)
    assert output.getvalue() == "1 rows with 1 entries were checked.\n"
    call_command("export_history", str(tmp_path), using=ALIAS, stdout=output)
    assert [(entry["learner"], entry["state"]) for entry in read_export(tmp_path)] == [("ann", {"n": 1})]
    lagging.catch_up()
    assert usernames(using=ALIAS, at_least={("ann", BLOCK): 2}) == ["ann", "bob"]


def test_behind_a_proxy_that_splits_reads_no_write_is_lost(lagging: Standby, ann: User) -> None:
    blocks = problems("new", 2)
    DjangoXBlockUserStateClient(ann).set("ann", BLOCK, {"a": "old"})
    lagging.catch_up()
    DjangoXBlockUserStateClient(ann).set("ann", BLOCK, {"a": "new"})
    with splitting():
        for number in range(60):
            hot_rows._until.clear()
            DjangoXBlockUserStateClient(ann).set_many("ann", {block: {f"{number}": number} for block in blocks})
        with transaction.atomic():
            DjangoXBlockUserStateClient(ann).set("ann", blocks[0], {"last": True})
        # As the standby has it.
        DjangoXBlockUserStateClient(ann).set("ann", BLOCK, {"a": "old"})
    client, numbers = DjangoXBlockUserStateClient(ann), {f"{number}": number for number in range(60)}
    states = [found.state for found in client.get_many("ann", [*blocks, BLOCK])]
    assert states == [{**numbers, "last": True}, numbers, {"a": "old"}]
    assert list(StudentModule.objects.order_by("revision").values_list("revision", flat=True)) == [3, 60, 61]
    assert_history_is_gapless()

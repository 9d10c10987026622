"""The health of the store, for operators and load balancers."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.db.utils import OperationalError
from django.test import Client, override_settings

from tests.factories import make_block, make_learners
from tests.integration.console.conftest import Login
from tests.integration.console.reading import MOST_STATEMENTS, address, read, statements
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.outbox import last_pass
from xblock_user_state.history.outbox.breaker import SHIPPING
from xblock_user_state.maintenance import reports
from xblock_user_state.models import StudentModule, StudentModuleHistory


def test_operators_see_sizes_checks_and_versions(ann: User, login: Login) -> None:
    DjangoXBlockUserStateClient().set("ann", make_block(), {"a": 1})
    client = login("view_historyoutbox")
    text = read(client, address("health"))
    figures = client.get(address("health_json")).json()
    assert figures["status"] == "ok"
    assert {"states", "default history"} <= {size["name"] for size in figures["rows"]}
    assert "xblock-user-state" in figures["versions"]
    assert "no extended history" in text or "0 entries" in text
    assert "default history" in text
    assert "xblock-user-state" in text
    assert statements(client, address("health")) <= MOST_STATEMENTS


@override_settings(USE_TZ=True, XBLOCK_USER_STATE={"NO_SUCH_SETTING": 1})
def test_problems_of_system_checks_are_shown(login: Login) -> None:
    assert "xblock_user_state.W001" in read(login("*"), address("health"))


def test_only_operators_are_led_there(login: Login) -> None:
    assert "Health" not in login("view_studentmodule").get(address("learners")).content.decode()


def test_counts_are_estimates_where_a_count_would_scan(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    DjangoXBlockUserStateClient().set_many("ann", {make_block(name): {"a": 1} for name in ("a", "b", "c")})
    monkeypatch.setattr(reports, "COUNTED", 2)
    [(rows, is_estimate)] = reports.estimated_rows("default", [StudentModule])
    assert is_estimate
    assert rows == 2 or connection.vendor != "sqlite"


@pytest.mark.skipif(connection.vendor != "postgresql", reason="MariaDB's figure is no exact one")
def test_an_estimate_is_the_number_of_rows_at_the_last_analyze(ann: User) -> None:
    DjangoXBlockUserStateClient().set_many("ann", {make_block(name): {"a": 1} for name in ("a", "b", "c")})
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {StudentModule._meta.db_table}, {StudentModuleHistory._meta.db_table}")
    assert reports.estimated_rows("default", [StudentModule, StudentModuleHistory]) == [(3, True), (3, True)]


def test_load_balancers_need_no_login(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Client().get(address("health_json"))
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    def fail(*_: Any) -> None:
        raise OperationalError("down")

    monkeypatch.setattr("xblock_user_state.console.health.state_database", fail)
    answer = Client().get(address("health_json"))
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


@pytest.mark.extended_history
@pytest.mark.django_db(transaction=True)
@override_settings(XBLOCK_USER_STATE={"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"})
def test_the_outbox_and_the_breaker_are_shown(transactional_db: None) -> None:
    make_learners("ann")
    DjangoXBlockUserStateClient().set("ann", make_block(), {"a": 1})
    cache.clear()
    client = Client()
    client.force_login(User.objects.create(username="root", is_superuser=True))
    assert "not known" in read(client, address("health"))
    call_command("relay_history", stdout=StringIO())
    assert "not known" not in read(client, address("health"))
    last_pass.note(2)
    outbox = client.get(address("health_json")).json()["outbox"]
    assert (outbox["waiting"], outbox["refused"]) == (0, 2)
    assert datetime.fromisoformat(outbox["last_pass"]).date() == datetime.now(UTC).date()
    assert "2 entries; relay_history names them" in read(client, address("health"))
    DjangoXBlockUserStateClient().set("ann", make_block(), {"a": 2})
    SHIPPING.failed(OperationalError("down"))
    try:
        text = read(client, address("health"))
    finally:
        SHIPPING.forget()
    assert "1 entry" in text
    assert "failed at the last attempt" in text
    assert "extended history" in text

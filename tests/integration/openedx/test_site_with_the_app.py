"""Django's own commands on a site with the app."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from tests import citus
from tests.factories import COURSE, make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.openedx.checks import check_database
from xblock_user_state.openedx.models import BlockNumber, CompatibleStudentModule, ImportedModule

pytestmark = pytest.mark.django_db(transaction=True)

Rows = CompatibleStudentModule.objects
APP = "xblock_user_state_openedx"


def _written() -> list[tuple[Any, ...]]:
    for user in make_learners("ada", "ben"):
        Client().set_many(user.username, {block: {"of": user.username} for block in make_blocks(3)})
    row = StudentModule.objects.first()
    assert row is not None
    ImportedModule._base_manager.create(id=4711, student_id=row.student_id, block_id=row.block_id, revision=1)
    return _shown()


def _shown() -> list[tuple[Any, ...]]:
    return sorted(Rows.values_list("pk", "student__username", "module_state_key", "state", "created", "modified"))


def test_a_dump_is_loaded_with_the_numbers_of_its_rows(tmp_path: Path) -> None:
    written = _written()
    dump = tmp_path / "site.xml"
    call_command("dumpdata", "auth.user", "xblock_user_state", APP, format="xml", output=str(dump))
    call_command("flush", interactive=False, verbosity=0)
    assert not Rows.exists()
    call_command("loaddata", str(dump), verbosity=0)
    assert _shown() == written
    assert StudentModuleHistory.objects.count() == 6
    call_command("loaddata", str(dump), verbosity=0)
    assert _shown() == written
    Client().set("ada", make_blocks(4)[3], {"new": 1})
    assert Rows.get(state__contains="new").pk not in {number for number, *_ in written}


def test_the_app_goes_and_comes_back_with_its_rows() -> None:
    written = _written()
    call_command("openedx_views", stdout=StringIO())
    try:
        call_command("openedx_views", drop=True, stdout=StringIO())
        call_command("migrate", APP, "zero", verbosity=0)
        tables = connection.introspection.table_names(include_views=True)
        assert not [name for name in tables if name.startswith(APP)]
        call_command("migrate", "xblock_user_state", "0003", verbosity=0)
    finally:
        call_command("migrate", verbosity=0)
        citus.distribute()
    assert BlockNumber.objects.count() == 3
    # The old id is gone with its table.
    assert sorted(map(str, (row[1:] for row in _shown()))) == sorted(map(str, (row[1:] for row in written)))
    row = Rows.filter(student__username="ada").first()
    assert Rows.get(pk=row.pk) == row
    row.state = '{"of":"staff"}'
    row.save()
    assert Client().get("ada", row.module_state_key).state == {"of": "staff"}
    assert row.course_id == COURSE


class _WithoutTheApp:
    """A router that keeps the app out of all databases."""

    def allow_migrate(self, database: str, label: str, **_: Any) -> bool | None:
        return False if label == APP else None


def test_routers_that_keep_the_app_out_are_refused(settings: Settings) -> None:
    assert check_database() == []
    settings.DATABASE_ROUTERS = [_WithoutTheApp()]
    [problem] = check_database()
    assert (problem.id, APP in str(problem.hint)) == ("xblock_user_state.E012", True)

"""The documentation's examples run: on the database of the run, and in projects that are made as it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from opaque_keys.edx.keys import UsageKey

from tests import documentation
from tests.documentation import ROOT
from xblock_user_state.client import DjangoXBlockUserStateClient

SQLITE_ONLY = pytest.mark.skipif(connection.vendor != "sqlite", reason="the projects of this test are on SQLite")
PROBLEM = UsageKey.from_string("block-v1:Sky+Astro101+2026+type@problem+block@moon")
# In place of the PostgreSQL server that the page names.
LEARNER_STATE_ON_SQLITE = """
DATABASES["learner_state"] = {**DATABASES["default"], "NAME": BASE_DIR / "learner_state.sqlite3"}
"""


@pytest.mark.django_db
@pytest.mark.parametrize("name", documentation.pages_with("database"))
def test_examples_run(name: str) -> None:
    documentation.run_page(name, "database")


@pytest.mark.django_db
@pytest.mark.parametrize("example", documentation.examples("sql"), ids=str)
def test_sql_finds_what_the_client_wrote(example: documentation.Example) -> None:
    get_user_model().objects.create_user("ada")
    client = DjangoXBlockUserStateClient()
    client.set("ada", PROBLEM, {"answer": "B"})
    client.set_score("ada", PROBLEM, 1, 2)
    with connection.cursor() as cursor:
        cursor.execute(example.text)
        assert len(cursor.fetchall()) == 1


class Project:
    """A Django project as ``startproject`` makes it, with the settings that a page says to add."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run("-m", "django", "startproject", "mysite", ".")

    def run(self, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "mysite.settings"}
        ended = subprocess.run(
            [sys.executable, *arguments], cwd=self.path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def manage(self, *arguments: str) -> str:
        return self.run("manage.py", *arguments)

    def add_settings(self, text: str) -> None:
        with (self.path / "mysite/settings.py").open("a") as settings:
            settings.write(text)

    def run_page(self, name: str, kind: str, names: str = "{}") -> None:
        self.manage("shell", "-c", f"from tests.documentation import run_page; run_page({name!r}, {kind!r}, {names})")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The project that the quickstart makes, before ``migrate``."""
    made = Project(tmp_path)
    for example in documentation.examples_on(ROOT / "docs/quickstart.md"):
        if example.kind == "settings":
            made.add_settings(example.text)
    return made


@SQLITE_ONLY
def test_the_quickstart_leads_from_an_empty_folder_to_the_first_state(project: Project) -> None:
    project.manage("migrate")
    assert "no issues" in project.manage("check")
    project.run_page("docs/quickstart.md", "database")


@pytest.fixture
def project_with_two_databases(project: Project) -> Project:
    """The project of the quickstart, with its learner state in a database of its own."""
    page = documentation.examples_on(ROOT / "docs/how-to/set-up-a-database.md")
    (router,) = [example.text for example in page if example.kind == "router"]
    (settings,) = [example.text for example in page if "DATABASE_ROUTERS" in example.text]
    (project.path / "mysite/routers.py").write_text(router)
    project.add_settings(settings + LEARNER_STATE_ON_SQLITE)
    project.manage("migrate")
    project.manage("migrate", "--database", "learner_state")
    return project


COUNT = "from xblock_user_state.models import StudentModule as S; print(S.objects.count(), S.objects.db)"


@SQLITE_ONLY
def test_learner_state_can_have_a_database_of_its_own(project_with_two_databases: Project) -> None:
    project = project_with_two_databases
    assert "no issues" in project.manage("check")
    project.run_page("docs/quickstart.md", "database")

    user = "__import__('django.contrib.auth', fromlist=['']).get_user_model().objects.get()"
    names = f"{{'user': {user}, 'user_id': {user}.pk}}"
    project.run_page("docs/how-to/delete-learners.md", "two databases", names)
    assert project.manage("shell", "-v", "0", "-c", COUNT) == "0 learner_state\n"


DELETE_IN_VAIN = """
from django.contrib.auth import get_user_model
from django.db import transaction
from xblock_user_state.models import StudentModule
with transaction.atomic():
    get_user_model().objects.get().delete()
    assert StudentModule.objects.exists()
    transaction.set_rollback(True)
"""


@SQLITE_ONLY
def test_a_users_deletion_that_is_rolled_back_keeps_state_in_another_database(
    project_with_two_databases: Project,
) -> None:
    project = project_with_two_databases
    project.run_page("docs/quickstart.md", "database")
    before = project.manage("shell", "-v", "0", "-c", COUNT)
    project.manage("shell", "-v", "0", "-c", DELETE_IN_VAIN)
    assert project.manage("shell", "-v", "0", "-c", COUNT) == before != "0 learner_state\n"

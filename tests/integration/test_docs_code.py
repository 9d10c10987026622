"""The documentation's examples run: on the run's database, and in projects set up as it says."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from opaque_keys.edx.keys import UsageKey

from tests import documentation
from tests.documentation import ROOT
from tests.integration.projects import Project
from tests.integration.projects import project as project  # noqa: PLC0414 (a fixture)
from xblock_user_state.client import DjangoXBlockUserStateClient

SQLITE_ONLY = pytest.mark.skipif(connection.vendor != "sqlite", reason="the projects of this test are on SQLite")
PROBLEM = UsageKey.from_string("block-v1:Sky+Astro101+2026+type@problem+block@moon")
# Replaces the PostgreSQL server that the page names.
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


@SQLITE_ONLY
def test_the_quickstart_leads_from_an_empty_folder_to_the_first_state(project: Project) -> None:
    project.manage("migrate")
    assert "no issues" in project.manage("check")
    project.run_page("docs/quickstart.md", "database")


@pytest.fixture
def project_with_two_databases(project: Project) -> Project:
    """The quickstart's project, with a separate database for learner state."""
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

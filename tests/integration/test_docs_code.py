"""The documentation's examples run: on the run's database, and in projects set up as it says."""

from __future__ import annotations

from pathlib import Path

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
@pytest.mark.parametrize("name", documentation.pages_with("archive"))
def test_examples_with_an_archive_run(name: str) -> None:
    for package in ("pyarrow", "duckdb", "polars"):
        pytest.importorskip(package)
    documentation.run_page(name, "archive")


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


# By the handlers' addresses, as the scripts of the blocks call them. The visitor's vote must not be counted.
ANSWERS = """
from django.test import Client
from mysite.course import POLL, PROBLEM

learner, visitor = Client(SERVER_NAME="localhost"), Client(SERVER_NAME="localhost")
assert learner.login(username="ada", password="red planet")
for client, choice, grade in ((visitor, 0, "incorrect"), (learner, 1, "correct")):
    page = client.get("/").content.decode()
    assert "Which planet is red?" in page and "Which planet would you visit?" in page, page
    answer = {"input_planets_2_1": f"choice_{choice}"}
    checked = client.post(f"/xblock/{PROBLEM}/handler/xmodule_handler/problem_check", answer).json()
    assert checked["success"] == grade, checked
    vote = {"answer": ("venus", "mars")[choice]}
    voted = client.post(f"/xblock/{POLL}/handler/handle_submit_state/", vote, content_type="application/json").json()
    assert voted["total"] == 1, voted

for address in (f"{POLL}x/handler/handle_get_state/", "oops/handler/handle_get_state/", f"{POLL}/handler/oops/"):
    assert learner.post(f"/xblock/{address}").status_code == 404, address
for path in ("oops/public/js/ProblemBlockDisplay.js", "problem/oops.js", "problem/public/oops.js"):
    assert learner.get(f"/xblock/resource/{path}").status_code == 404, path
assert learner.get("/xblock/resource/problem/public/js/ProblemBlockDisplay.js").status_code == 200
assert Client(SERVER_NAME="localhost", enforce_csrf_checks=True).post(f"/xblock/{POLL}/handler/x").status_code == 403

# A GET reaches the block, if a page of this site sends it. This block asks for the page once more.
reset = f"/xblock/{PROBLEM}/handler/xmodule_handler/problem_get"
for site, status in (("same-origin", 200), ("cross-site", 403), ("none", 403)):
    assert learner.get(reset, headers={"Sec-Fetch-Site": site}).status_code == status, site
assert learner.get(reset).status_code == 403
assert learner.put(reset).status_code == 405

# A visitor who sends more than there is space for, by a handler and then by the page.
answer = {"input_planets_2_1": "x" * 600_000}
refused = visitor.post(f"/xblock/{PROBLEM}/handler/xmodule_handler/problem_check", answer)
assert refused.status_code == 403 and "a visitor's state may take 524288 bytes" in refused.content.decode(), refused
"""


@SQLITE_ONLY
def test_the_host_of_the_guide_takes_answers(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.follow("docs/how-to/bind-a-runtime.md")
    project.manage("migrate")
    assert "no issues" in project.manage("check")
    project.create_account("ada", "red planet")
    (tmp_path / "answers.py").write_text(ANSWERS)
    project.manage("shell", "-v", "0", "-c", "import answers")
    project.run_page("docs/how-to/bind-a-runtime.md", "project")

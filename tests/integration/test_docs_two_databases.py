"""The operator's guide, step by step: from one database to two, in the quickstart's project."""

from __future__ import annotations

import pytest
from django.db import connection

from tests import documentation
from tests.documentation import ROOT
from tests.integration.projects import Project
from tests.integration.projects import project as project  # noqa: PLC0414 (a fixture)

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="the projects of this test are on SQLite")

GUIDE = "docs/how-to/run-two-databases.md"
# Replaces the server that the page names.
ON_SQLITE = """
DATABASES["student_module_history"] = {**DATABASES["default"], "NAME": BASE_DIR / "history.sqlite3"}
"""
COUNT = """
from xblock_user_state.extended_history.models import StudentModuleHistoryExtended as extended
from xblock_user_state.models import HistoryOutbox, StudentModuleHistory
print(extended.objects.count(), StudentModuleHistory.objects.count(), HistoryOutbox.objects.count())
"""


def settings_of_the_guide(word: str) -> str:
    """Return the first settings example on the page that contains the word."""
    page = documentation.examples_on(ROOT / GUIDE)
    return next(example.text for example in page if example.kind == "settings" and word in example.text)


def test_the_guide_leads_from_one_database_to_two(project: Project) -> None:
    project.manage("migrate_all")
    project.add_settings(ON_SQLITE)
    project.add_settings(settings_of_the_guide("INSTALLED_APPS"))
    project.manage("migrate_all", "--noinput")
    assert "no issues" in project.manage("check")
    project.add_settings(settings_of_the_guide('"EXTENDED_HISTORY": True'))
    assert "no issues" in project.manage("check")
    project.run_page("docs/quickstart.md", "database")
    extended, default, outbox = map(int, project.manage("shell", "-v", "0", "-c", COUNT).split())
    assert extended > 0
    assert default == outbox == 0
    project.add_settings(settings_of_the_guide("READ_MULTIPLE_HISTORIES"))
    assert "no issues" in project.manage("check")

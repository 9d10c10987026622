"""``make demo SAMPLE=1``: invented learners take the course, in 2026, and a second call leaves them as they are."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection

from tests.documentation import ROOT

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="the demo's file is read by SQL")

STATES = """
SELECT username, block_type, state FROM xblock_user_state_studentmodule
JOIN auth_user ON auth_user.id = student_id
JOIN xblock_user_state_block AS block ON block.id = block_id ORDER BY 1, 2, state
"""
TUESDAY = """
SELECT created FROM xblock_user_state_studentmodulehistory JOIN auth_user ON auth_user.id = student_id
JOIN xblock_user_state_block AS block ON block.id = block_id
WHERE username = 'ines' AND block_type = 'freetextresponse' ORDER BY revision
"""


VIEW_AS_TOM = """
import django
django.setup()
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
staff = Client(raise_request_exception=False)
staff.force_login(get_user_model().objects.get(username="staff"))
staff.post("/view-as/tom/")
for path in ("/", "/units/north/", "/units/log/", "/nothing/"):
    answer = staff.get(path)
    page = answer.content.decode()
    told = "Can’t be read" if path == "/" else "This activity can’t be shown"
    print(path, answer.status_code, page.count(told), page.count(">Stop<"))
with connection.cursor() as cursor:
    cursor.execute("ALTER TABLE xblock_user_state_studentmodule RENAME TO lost")
answer = staff.get("/")
print("/", answer.status_code, answer.content.decode().count(">Stop<"))
"""


def make(folder: Path) -> str:
    return run(folder, "-m", "django", "make_sample", "--only", "ines", "jamal", "tom")


def run(folder: Path, *arguments: str) -> str:
    settings = {"DEMO_VAR": str(folder), "DJANGO_SETTINGS_MODULE": "tests.acceptance.demo_settings"}
    environment = {**os.environ, "DATABASE_URL": "", "HISTORY_DATABASE_URL": "", **settings}
    command = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_sample_is_made_once_by_the_blocks_of_the_course(tmp_path: Path) -> None:
    assert "They clicked" in make(tmp_path)
    with closing(sqlite3.connect(tmp_path / "demo.sqlite3")) as database:
        [learners] = database.execute("SELECT COUNT(*) FROM auth_user WHERE date_joined < '2026-03-03'").fetchone()
        states = database.execute(STATES).fetchall()
        times = [time for (time,) in database.execute(TUESDAY)]
    assert learners == 50
    assert {username for username, _, _ in states} == {"ines", "jamal", "tom"}
    assert {block_type for _, block_type, _ in states} >= {"problem", "poll", "done", "freetextresponse", "survey"}
    # The draft, the answer of Tuesday, and the draft again.
    assert [time[:16] for time in times] == ["2026-04-09 19:42", "2026-04-14 19:42", "2026-04-14 20:53"]
    assert [username for username, _, state in states if state and not state.endswith("}")] == ["tom"]

    assert make(tmp_path) == "The invented learners are there already.\n"
    with closing(sqlite3.connect(tmp_path / "demo.sqlite3")) as database:
        assert database.execute(STATES).fetchall() == states

    # A state that can't be read takes down its own block only, and staff can stop viewing on every page.
    pages = ["/ 200 1 1", "/units/north/ 200 1 1", "/units/log/ 200 1 1", "/nothing/ 404 0 1"]
    assert run(tmp_path, "-c", VIEW_AS_TOM).splitlines() == [*pages, "/ 500 1"]


def test_the_target_of_make_makes_it() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ndemo:  ##")[2].partition("\n\n")[0]
    assert "$(if $(SAMPLE),$(IN_VENV) -W ignore -m django make_sample --settings demo.settings)" in recipe

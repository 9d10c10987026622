"""``manage.py migrate_all`` migrates every database that the routers allow, in order, until one fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import Error, register
from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from tests.documentation import ROOT

ALIAS = "student_module_history"
SETTINGS = """
from tests.settings import *
from pathlib import Path

HERE = Path(__file__).parent
def _file(name):
    options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / name, "OPTIONS": options}
DATABASES = {
    "student_module_history": _file("history.sqlite3"),
    "default": _file("default.sqlite3"),
    "replica": _file("replica.sqlite3"),
    "other": _file("other.sqlite3"),
}
class Replica:
    def allow_migrate(self, db, app_label, **hints):
        return False if db == "replica" else None
INSTALLED_APPS = [app for app in INSTALLED_APPS if "extended" not in app] + ["xblock_user_state.extended_history"]
DATABASE_ROUTERS = [Replica(), "xblock_user_state.extended_history.router.StudentModuleHistoryExtendedRouter"]
"""


class Site:
    """A project with four databases in files; two of them get all tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "site_settings.py").write_text(SETTINGS)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(self.folder), *sys.path])
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "site_settings", "PYTHONPATH": path}
        command = [sys.executable, "-m", "django", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    def files(self) -> set[str]:
        return {file.stem for file in self.folder.glob("*.sqlite3")}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


SQLITE_ONLY = pytest.mark.skipif(connection.vendor != "sqlite", reason="the databases of the site are on SQLite")


@SQLITE_ONLY
def test_every_database_is_brought_up_to_date_in_order(site: Site) -> None:
    first = site.run("migrate_all", "--noinput")
    assert first.returncode == 0, first.stderr
    headings = [line for line in first.stdout.splitlines() if line.rstrip(":") in ("default", ALIAS, "other")]
    assert headings == ["default:", f"{ALIAS}:", "other:"]
    assert "replica: left alone" in first.stdout
    assert site.files() == {"default", "history", "other"}
    assert first.stdout.count("Applying xblock_user_state_extended_history.0001_initial") == 3
    again = site.run("migrate_all")
    assert again.stdout.count("No migrations to apply.") == 3
    assert site.run("migrate_all", "--check").returncode == 0


@SQLITE_ONLY
def test_a_plan_does_nothing(site: Site) -> None:
    planned = site.run("migrate_all", "--plan")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count("Planned operations:") == 3
    assert "Applying" not in planned.stdout
    assert site.run("migrate_all", "--check").returncode == 1


@SQLITE_ONLY
def test_a_check_names_the_missing_migrations_of_every_database(site: Site) -> None:
    site.run("migrate_all", "--noinput")
    app = "xblock_user_state_extended_history"
    for alias in ("default", ALIAS):
        site.run("migrate", app, "zero", "--database", alias)
    checked = site.run("migrate_all", "--check")
    assert checked.returncode == 1
    [default, history, other] = re.findall(
        r"^(?:default|student_module_history|other):\n((?:  .*\n)+)", checked.stdout, re.M
    )
    assert default == history == f"  {app}.0001_initial\n  {app}.0002_partitions\n"
    assert other == "  No migrations to apply.\n"
    expected = f"not up to date: 'default' lacks 2 migrations, '{ALIAS}' lacks 2 migrations; run migrate_all"
    assert expected in checked.stderr
    assert site.run("migrate_all", "--check", "--verbosity", "0").stdout == ""
    assert site.run("migrate_all", "--check", "--plan").returncode == 1


@SQLITE_ONLY
def test_a_check_of_a_database_that_can_not_be_opened_is_an_error(site: Site) -> None:
    (site.folder / "history.sqlite3").mkdir()
    checked = site.run("migrate_all", "--check")
    assert checked.returncode == 1
    assert f"the database '{ALIAS}' can't be compared with the migrations: unable to open" in checked.stderr
    assert "Traceback" not in checked.stderr


@SQLITE_ONLY
def test_the_system_check_of_the_history_database_looks_for_its_table(site: Site) -> None:
    def check() -> str:
        return site.run("check", "--database", ALIAS).stderr

    assert "xblock_user_state.W006" in check()
    assert "has no table for the extended history" in check()
    assert "W006" not in site.run("check").stderr
    site.run("migrate_all", "--noinput")
    assert "W006" not in check()
    (site.folder / "history.sqlite3").unlink()
    (site.folder / "history.sqlite3").mkdir()
    assert "can't be reached (unable to open database file)" in check()


@SQLITE_ONLY
def test_the_first_failure_ends_it(site: Site) -> None:
    # SQLite can't open a folder as a database.
    (site.folder / "history.sqlite3").mkdir()
    ended = site.run("migrate_all")
    assert ended.returncode == 1
    assert f"the database '{ALIAS}' could not be migrated; not migrated: other: unable to open" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert site.files() == {"default", "history"}


@SQLITE_ONLY
def test_verbosity_is_passed_on(site: Site) -> None:
    quiet = site.run("migrate_all", "--verbosity", "0")
    assert (quiet.returncode, quiet.stdout) == (0, "")


@pytest.mark.django_db
def test_system_checks_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "registered_checks", set(registry.registered_checks))
    seen: list[Any] = []

    @register("database")
    def refuse(databases: Any = None, **_: Any) -> list[Error]:
        seen.append(databases)
        return [Error("this site is not ready")]

    with pytest.raises(SystemCheckError, match="this site is not ready"):
        call_command("migrate_all", stdout=StringIO())
    assert "default" in seen[-1]


@pytest.mark.extended_history
@pytest.mark.django_db(transaction=True, databases=["default", ALIAS])
def test_the_databases_of_the_run_are_up_to_date() -> None:
    output = StringIO()
    call_command("migrate_all", stdout=output, interactive=False)
    lines = output.getvalue().splitlines()
    assert [line for line in lines if line in ("default:", f"{ALIAS}:")] == ["default:", f"{ALIAS}:"]
    assert sum("No migrations to apply." in line for line in lines) == 2

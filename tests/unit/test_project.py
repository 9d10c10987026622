"""The repository's files agree with each other: workflows, versions, constraints, findings and named paths."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import xblock_user_state
from scripts import environment
from tests.documentation import ROOT, name_of

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FINDINGS = sorted((ROOT / "findings").glob("*.sh"))
# test_docs follows the links of the README, which are absolute for PyPI.
GUIDES = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]

USES = re.compile(r"\buses: *(.*)")
PINNED = re.compile(r"[\w-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")
FOLDERS = r"src|tests|docs|demo|bench|scripts|findings|constraints|\.ci|\.github"
PATH = re.compile(rf"(?<![\w./-])((?:{FOLDERS})/[\w./-]*)")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_workflows_pin_actions_by_commit(workflow: Path) -> None:
    actions = USES.findall(workflow.read_text())
    assert actions
    assert not [action for action in actions if not PINNED.fullmatch(action)]


def test_one_commit_stands_for_each_action() -> None:
    actions = {action for workflow in WORKFLOWS for action in USES.findall(workflow.read_text())}
    assert len(actions) == len({action.partition("@")[0] for action in actions})


def test_the_version_is_that_of_the_distribution() -> None:
    assert xblock_user_state.__version__ == version("xblock-user-state")


def test_the_package_imports_without_django() -> None:
    program = "import sys, xblock_user_state; sys.exit('django' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


UNUSED_AT_FIRST = (
    "simplejson",
    "xblock_user_state.history.packs",
    "xblock_user_state.remote",
    "httpx2",
    "opentelemetry",
    "orjson",
    "prometheus_client",
    "pyarrow",
    "xblock.core",
    "xblock_user_state.actions.engine",
    "xblock_user_state.archive",
    "xblock_user_state.checks",
    "xblock_user_state.history.outbox",
    "xblock_user_state.history.reading",
    "xblock_user_state.maintenance",
    "xblock_user_state.management",
    "xblock_user_state.openedx",
    "xblock_user_state.runtime",
    "xblock_user_state.saving",
    "xblock_user_state.store.dialects.citus",
    "xblock_user_state.store.dialects.mysql",
    "xblock_user_state.store.dialects.postgresql",
)
"""Modules, with those inside them, that a process of a SQLite site without an extended history does not need."""


def test_a_process_that_serves_requests_loads_what_it_uses() -> None:
    program = """
import sys
import django
from django.conf import settings
databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
apps = ["django.contrib.auth", "django.contrib.contenttypes", "xblock_user_state"]
settings.configure(INSTALLED_APPS=apps, DATABASES=databases, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
django.setup()
from opaque_keys.edx.keys import UsageKey
from xblock_user_state.client import DjangoXBlockUserStateClient
key = UsageKey.from_string("block-v1:a+b+c+type@problem+block@d")
assert list(DjangoXBlockUserStateClient().get_many("", [key])) == []
print(*sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    loaded = {f"{name}." for name in ended.stdout.split()}
    assert [name for name in UNUSED_AT_FIRST if any(module.startswith(f"{name}.") for module in loaded)] == []


OF_EXTRAS = (
    "cryptography",
    "datadog",
    "django_htmx",
    "fsspec",
    "granian",
    "httpx2",
    "jwt",
    "MySQLdb",
    "ninja",
    "opentelemetry",
    "prometheus_client",
    "psycopg",
    "pyarrow",
    "stamina",
)
"""Packages that only extras of the distribution install."""


def test_a_site_without_extras_can_be_checked_and_migrated() -> None:
    program = """
import sys
# As if they were not installed.
sys.modules.update(dict.fromkeys(sys.argv[1:]))
import django
from django.conf import settings
from django.core.management import call_command
options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"}
databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": options}}
apps = ["django.contrib.auth", "django.contrib.contenttypes", "xblock_user_state"]
settings.configure(INSTALLED_APPS=apps, DATABASES=databases, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
django.setup()
call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(
        [sys.executable, "-c", program, *OF_EXTRAS], env=environment, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


def test_every_finding_is_in_the_index() -> None:
    index = (ROOT / "findings/README.md").read_text()
    rows = re.findall(r"^\| \[[\w-]+\]\(([\w-]+\.sh)\)", index, re.MULTILINE)
    assert rows
    assert sorted(rows) == [file.name for file in FINDINGS]


@pytest.mark.parametrize("script", FINDINGS, ids=name_of)
def test_findings_can_be_run_and_pin_their_packages(script: Path) -> None:
    assert os.access(script, os.X_OK)
    one_line_a_command = script.read_text().replace("\\\n", " ")
    packages = re.findall(r"pip install((?: .*)?)$", one_line_a_command, re.MULTILINE)
    requirements = [word for line in packages for word in line.split() if not word.startswith("-")]
    assert requirements
    assert not [word for word in requirements if "==" not in word]


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_guides_name_files_that_exist(page: Path) -> None:
    named = {path.rstrip(".") for path in PATH.findall(page.read_text())}
    assert named
    built = "docs/_build/"
    assert not [path for path in named if not path.startswith(built) and not (ROOT / path).exists()]


def test_the_distribution_has_all_files_that_it_names() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert not [path for path in targets["sdist"]["include"] if not (ROOT / path.removeprefix("/")).exists()]


def test_every_supported_python_has_constraints() -> None:
    supported = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    files = {file.name for file in (ROOT / "constraints").iterdir()}
    assert files == {environment.constraints_of(python).name for python in supported}


@pytest.mark.parametrize("file", sorted((ROOT / "constraints").iterdir()), ids=name_of)
def test_constraints_pin_each_direct_dependency(file: Path) -> None:
    pinned = {normal(line.partition("==")[0]) for line in file.read_text().splitlines() if "==" in line}
    extras = PROJECT["optional-dependencies"].values()
    wanted = {
        normal(re.split(r"[\[<>=;! ]", requirement)[0])
        for requirements in (PROJECT["dependencies"], *extras)
        for requirement in requirements
    }
    assert wanted - {"xblock-user-state"} <= pinned


def normal(name: str) -> str:
    """Return the normal form of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("constraint", "series", "agrees"),
    [
        ("Django==6.1.3", "", True),
        ("Django==6.1.3", "6.1", True),
        ("Django==6.1.3", "6", True),
        ("Django==6.1.3", "5.2", False),
        ("django==6.10.1", "6.1", False),
        ("django-stubs==6.1.2", "5.2", True),
    ],
)
def test_a_named_series_of_django_wins_over_the_constraints(constraint: str, series: str, *, agrees: bool) -> None:
    assert environment._agrees(constraint, series) is agrees

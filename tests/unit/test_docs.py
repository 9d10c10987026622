"""The documentation names everything that users can name, its links lead somewhere, and its examples run."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from types import FunctionType

import pytest
from django.apps import apps
from django.db.models import Model
from django.test import override_settings
from xblock.runtime import Runtime

from tests import documentation
from tests.documentation import DOCS, PAGES, ROOT, name_of
from xblock_user_state import checks, conf, ephemeral, hosting, interface, migrate_settings, runtime
from xblock_user_state.metrics import names
from xblock_user_state.metrics.dogstatsd import DogStatsDSink
from xblock_user_state.metrics.opentelemetry import OpenTelemetrySink
from xblock_user_state.metrics.prometheus import PrometheusSink
from xblock_user_state.openedx import checks as openedx_checks
from xblock_user_state.openedx.old.reasons import Reason
from xblock_user_state.runtime import UserStateKeyValueStore, UserStateRuntime, UserStateService
from xblock_user_state.service import checks as service_checks

CLIENT = (DOCS / "reference/client.md").read_text()
SETTINGS = (DOCS / "reference/settings.md").read_text()
METRICS = (DOCS / "reference/metrics.md").read_text()
TABLES = (DOCS / "reference/tables.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()

MODELS = [model for model in apps.get_models() if model._meta.app_label == "xblock_user_state"]
OF_RUNTIMES = (UserStateRuntime, UserStateKeyValueStore, UserStateService)
LINK = re.compile(r"\]\((?!https?://)([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LABEL = re.compile(r"^\((.+)\)=$", re.MULTILINE)
PROJECT = "xblock-user-state/xblock-user-state"
OWN_FILE = re.compile(rf"https://(?:github\.com/{PROJECT}/blob|raw\.githubusercontent\.com/{PROJECT})/main/([^)\s]+)")
OWN_PAGE = re.compile(r"https://xblock-user-state\.readthedocs\.io/en/latest/([^)\s]+)\.html")


def public_functions(owner: type) -> list[str]:
    return [name for name, value in vars(owner).items() if isinstance(value, FunctionType) and name[0] != "_"]


@pytest.mark.parametrize("setting", sorted(conf.DEFAULTS))
def test_every_setting_is_documented_with_its_default(setting: str) -> None:
    section = SETTINGS.partition(f"\n## {setting}\n")[2].partition("\n## ")[0]
    assert f"Default: `{json.dumps(conf.DEFAULTS[setting])}`" in " ".join(section.split())


def test_every_command_is_documented() -> None:
    commands = {file.stem for file in (ROOT / "src/xblock_user_state/management/commands").glob("[a-z]*.py")}
    pages = " ".join(page.read_text() for page in DOCS.rglob("*.md"))
    assert commands <= set(re.findall(r"manage\.py (\w+)", pages))


def test_the_table_of_metrics_is_what_the_code_has() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (counter|histogram|gauge) \| (\w+) \| (.*?) ?\|", METRICS, re.MULTILINE)
    documented = [
        (f"DjangoXBlockUserStateClient.{name}", kind, unit, tuple(re.findall(r"`(\w+)`", tags)))
        for name, kind, unit, tags in rows
    ]
    assert documented == list(names.METRICS.values())


def test_the_guide_has_a_remedy_for_every_reason_of_an_import() -> None:
    section = (DOCS / "how-to/move-an-openedx-site.md").read_text().partition("\n## Troubleshooting\n")[2]
    cells = re.findall(r"^\|([^|]*)\|", section.partition("\n## ")[0], re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == {reason.code for reason in Reason}


@pytest.mark.parametrize("name", ["prometheus-rules.yml", "grafana-dashboard.json"])
def test_alerts_and_dashboard_use_metrics_and_tags_that_exist(name: str) -> None:
    text = (DOCS / "monitoring" / name).read_text()
    suffixes = {"counter": "_total", "histogram": "_bucket", "gauge": ""}
    tags = {f"{metric.name.replace('.', '_')}{suffixes[metric.kind]}": metric.tags for metric in names.METRICS.values()}
    used = set(re.findall(r"DjangoXBlockUserStateClient_\w+", text))
    assert used
    assert used <= tags.keys()
    for wanted, metric in re.findall(r"sum by \((\w+)\) \(rate\((\w+)", text):
        assert wanted == "le" or wanted in tags[metric]


def test_every_metric_is_reported_somewhere() -> None:
    constants = {name for name, value in vars(names).items() if isinstance(value, names.Metric)}
    assert len(constants) == len(names.METRICS)
    package = [file for file in (ROOT / "src").rglob("*.py") if file.name != "names.py"]
    assert {name for file in package for name in re.findall(r"\bnames\.([A-Z_]+)\b", file.read_text())} == constants


def test_every_tag_is_documented_with_its_values() -> None:
    section = METRICS.partition("\n## Tags\n")[2]
    documented = set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE))
    assert documented == {tag for metric in names.METRICS.values() for tag in metric.tags}


def test_every_option_of_a_sink_is_documented() -> None:
    guide = (DOCS / "how-to/watch-it.md").read_text()
    for title, sink in (
        ("DogStatsD", DogStatsDSink),
        ("Prometheus", PrometheusSink),
        ("OpenTelemetry", OpenTelemetrySink),
    ):
        section = guide.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        cells = re.findall(r"^\|([^|]*)\|", section.partition("| option |")[2], re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", " ".join(cells))) == set(inspect.signature(sink).parameters)


def test_every_variable_of_migrations_is_documented() -> None:
    guide = (DOCS / "how-to/run-two-databases.md").read_text()
    parts = re.findall(r"`([A-Z]+)`", guide.partition("| part | |")[2].partition("\n\n")[0])
    assert set(parts) == set(migrate_settings._PARTS)


def test_every_system_check_is_documented() -> None:
    identifier = re.compile(r"xblock_user_state\.[A-Z]\d+")
    sources = "".join(map(inspect.getsource, (checks, openedx_checks, service_checks)))
    assert set(identifier.findall(SETTINGS)) == set(identifier.findall(sources))


@pytest.mark.parametrize("owner", [interface.XBlockUserStateClient, interface.Batch, *OF_RUNTIMES])
def test_every_method_is_in_the_reference(owner: type) -> None:
    page = (DOCS / "reference/runtime.md").read_text() if owner in OF_RUNTIMES else CLIENT
    section = page[page.index(f"autoclass:: {owner.__name__}") :]
    documented = re.findall(r"automethod:: (\w+)", section.partition("```")[0])
    # XBlock documents its own.
    assert set(documented) >= set(public_functions(owner)) - set(dir(Runtime))


def test_every_name_of_the_runtime_is_in_the_reference() -> None:
    page = (DOCS / "reference/runtime.md").read_text()
    assert set(re.findall(r"auto(?:class|function|exception):: (\w+)", page)) == set(runtime.__all__)


def test_everything_about_visitors_is_in_the_reference() -> None:
    page = (DOCS / "reference/ephemeral.md").read_text()
    assert set(re.findall(r"auto(?:class|function):: (\w+)", page)) == set(ephemeral.__all__)


def test_everything_about_requests_is_in_the_reference() -> None:
    page = (DOCS / "reference/hosting.md").read_text()
    assert set(re.findall(r"autofunction:: (\w+)", page)) == set(hosting.__all__)


def test_the_statements_of_every_method_are_documented() -> None:
    table = CLIENT[CLIENT.index("## Statements") :]
    assert set(re.findall(r"`(\w+)`", table)) >= set(public_functions(interface.XBlockUserStateClient))


def test_every_error_is_in_the_reference() -> None:
    classes = inspect.getmembers(interface, inspect.isclass)
    errors = {name for name, value in classes if issubclass(value, Exception)}
    assert set(re.findall(r"autoexception:: (\w+)", CLIENT)) == errors


def test_the_fields_of_results_are_in_the_reference() -> None:
    beside_the_tuple: dict[type, tuple[str, ...]] = {
        interface.XBlockUserState: ("revision",),
        interface.BlockScore: ("created",),
    }
    for result in (
        interface.XBlockUserState,
        interface.EncodedState,
        interface.BlockScore,
        interface.ConflictingRow,
    ):
        section = CLIENT.partition(f"autoclass:: {result.__name__}\n")[2].partition("autoclass::")[0]
        assert tuple(re.findall(r"py:attribute:: (\w+)", section)) == (
            *result._fields,
            *beside_the_tuple.get(result, ()),
        )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_column_is_documented(model: type[Model]) -> None:
    sections = re.split(r"^## ", TABLES, flags=re.MULTILINE)
    section = next(section for section in sections if model.__name__ in section.partition("\n")[0])
    assert f"`{model._meta.db_table}`" in section
    documented = set(re.findall(r"`(\w+)`", section))
    assert documented >= {field.column for field in model._meta.concrete_fields}


def test_every_target_and_variable_of_make_is_documented() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE)
    variables = re.findall(r"^([A-Z_]+) \?=", makefile, re.MULTILINE)
    assert set(re.findall(r"^\| `make ([a-z-]+)` \|", CONTRIBUTING, re.MULTILINE)) == set(targets)
    assert set(re.findall(r"^\| `([A-Z_]+)` \|.*\| `make", CONTRIBUTING, re.MULTILINE)) == set(variables)


def test_the_readme_names_the_first_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "\n$ make demo " in readme
    assert "\n$ make test " in readme


def test_the_readmes_links_are_absolute_and_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    # PyPI shows the file without the repository around it.
    assert not LINK.findall(readme)
    files = [ROOT / path for path in OWN_FILE.findall(readme)]
    pages = [DOCS / f"{path}.md" for path in OWN_PAGE.findall(readme)]
    assert files
    assert pages
    assert not [path for path in files + pages if not path.exists()]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    dead = [link for link in LINK.findall(page.read_text()) if not leads_somewhere(page, link)]
    assert not dead


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    content = page.read_text()
    headings = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in HEADING.findall(content)}
    return headings | set(LABEL.findall(content))


def test_the_code_refers_to_pages_that_exist() -> None:
    named = {
        path
        for module in (ROOT / "src").rglob("*.py")
        for path in re.findall(r"(?<![/.])\bdocs/(\w+(?:/\w+)?)", module.read_text())
    }
    assert named
    assert not [path for path in named if not list(DOCS.glob(f"{path}*"))]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_example_says_how_it_runs(page: Path) -> None:
    unknown = [str(example) for example in documentation.examples_on(page) if example.kind not in documentation.KINDS]
    assert not unknown


@pytest.mark.parametrize("example", documentation.examples("file"), ids=str)
def test_the_text_names_the_file_of_an_example(example: documentation.Example) -> None:
    # The comment before the example is not shown.
    before = example.page.read_text().splitlines()[: example.line]
    assert f"`{example.file}`" in " ".join(before[-12:])


@pytest.mark.parametrize("name", documentation.pages_with("memory"))
def test_examples_without_a_database_run(name: str) -> None:
    names = documentation.run_page(name, "memory")
    for defined, value in names.items():
        if defined.startswith("test_"):
            value()


@pytest.mark.parametrize("example", documentation.examples("settings"), ids=str)
def test_documented_settings_pass_the_checks(example: documentation.Example, tmp_path: Path) -> None:
    names = documentation.run([example], {"BASE_DIR": tmp_path, "INSTALLED_APPS": [], "DATABASES": {"default": {}}})
    with override_settings(XBLOCK_USER_STATE=names.get("XBLOCK_USER_STATE", {})):
        assert checks.check_settings() == []
        assert checks.check_metrics() == []


def test_all_pages_give_sqlite_the_same_options(tmp_path: Path) -> None:
    quickstart = documentation.run_page(
        "docs/quickstart.md", "settings", {"INSTALLED_APPS": [], "DATABASES": {"default": {}}}
    )
    first, *_ = [example for example in documentation.examples("settings") if "set-up-a-database" in str(example)]
    how_to = documentation.run([first], {"BASE_DIR": tmp_path})
    host = documentation.run_page(
        "docs/how-to/bind-a-runtime.md", "settings", {"INSTALLED_APPS": [], "DATABASES": {"default": {}}}
    )
    options = quickstart["DATABASES"]["default"]["OPTIONS"]
    assert options == how_to["DATABASES"]["default"]["OPTIONS"] == host["DATABASES"]["default"]["OPTIONS"]

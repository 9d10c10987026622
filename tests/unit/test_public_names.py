"""The page of public names lists every name that hosts may import; the demo, their example, imports no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation import DOCS, PAGES, ROOT, name_of

PAGE = (DOCS / "reference/public-names.md").read_text()
SECTION = re.compile(r"^## `([\w.]+)`$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| \S", re.MULTILINE)
PUBLIC = {module: ROW.findall(section) for module, section in SECTION.findall(PAGE)}

SOURCE = ROOT / "src"
# They have an ``__all__`` for the names that the rest of the package imports from their folders.
INTERNAL = {"xblock_user_state.history.partitions", "xblock_user_state.store.dialects", "xblock_user_state.wire"}


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def names_in_all(file: Path) -> list[str] | None:
    """Return the module's ``__all__`` without importing it.

    An import would register models of an app that is not installed under another app's label.
    """
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


DECLARED = {module_name(file): names for file in SOURCE.rglob("*.py") if (names := names_in_all(file)) is not None}


def imported_names(program: str) -> Iterator[tuple[str, str | None]]:
    """Yield each module of the package that a program imports, with each name imported from it."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "xblock_user_state":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.startswith("xblock_user_state."))


def private_names(program: str) -> list[str]:
    return [
        f"{module}: {name}"
        for module, name in imported_names(program)
        if name not in PUBLIC.get(module, []) and f"{module}.{name}" not in PUBLIC and (name or module not in PUBLIC)
    ]


def test_every_module_with_public_names_is_on_the_page() -> None:
    assert {*DECLARED} == {*PUBLIC, *INTERNAL}


@pytest.mark.parametrize("module", PUBLIC)
def test_the_page_lists_the_names_of_each_module(module: str) -> None:
    assert sorted(PUBLIC[module]) == sorted(DECLARED[module])


@pytest.mark.parametrize("file", sorted((ROOT / "demo").rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_demo_imports_public_names_only(file: Path) -> None:
    assert private_names(file.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_examples_of_the_documentation_import_public_names_only(page: Path) -> None:
    imports = [
        line for line in page.read_text().splitlines() if re.match(r"(>>> )?(from|import) xblock_user_state", line)
    ]
    assert [private_names(line.removeprefix(">>> ")) for line in imports] == [[]] * len(imports)


def test_imports_of_private_names_are_found() -> None:
    assert private_names("from xblock_user_state.client import DjangoXBlockUserStateClient") == []
    assert private_names("from xblock_user_state import client, interface") == []
    assert private_names("import xblock_user_state.client") == []
    assert private_names("from xblock_user_state.client import Writer") == ["xblock_user_state.client: Writer"]
    assert private_names("from xblock_user_state import store") == ["xblock_user_state: store"]
    assert private_names("import xblock_user_state.store") == ["xblock_user_state.store: None"]

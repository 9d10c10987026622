"""The documentation for tests: its pages, their links, and their examples, which run.

A comment before each example names its way to run::

    <!-- test: memory -->         without a database
    <!-- test: database -->       on the database of the run
    <!-- test: archive -->        the same, where the packages that read Parquet are installed
    <!-- test: sql -->            the same, as SQL
    <!-- test: settings -->       as a part of a settings module
    <!-- test: router -->         as the module of a router
    <!-- test: two databases -->  in a project with a separate database for learner state
    <!-- test: file a/b.py -->    as a file of the page's project
    <!-- test: project -->        in the page's project
    <!-- test: remote -->         as a remote host, of a service on the database of the run
    <!-- test: no -->             not at all

The examples of one page and one kind run in order and share their names.
"""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Without the pages that Sphinx copies into its output.
PAGES = tuple(sorted([*ROOT.glob("*.md"), *(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]))
KINDS = {
    "memory",
    "database",
    "archive",
    "sql",
    "settings",
    "router",
    "two databases",
    "file",
    "project",
    "remote",
    "no",
}

_EXAMPLE = re.compile(
    r"^(?:<!-- test: (?P<kind>[a-z ]+?)(?: (?P<file>[\w/]+\.\w+))? -->\n)?"
    r"```(?P<language>python|pycon|sql|html)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Example(NamedTuple):
    """A code block of a page; `line` is the number of the page's line before its text, `file` the path of a file."""

    page: Path
    line: int
    language: str
    kind: str | None
    text: str
    file: str | None

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def examples_on(page: Path) -> list[Example]:
    content = page.read_text()
    return [
        Example(
            page,
            content.count("\n", 0, found.start("text")),
            found["language"],
            found["kind"],
            found["text"],
            found["file"],
        )
        for found in _EXAMPLE.finditer(content)
    ]


def examples(kind: str) -> list[Example]:
    return [example for page in PAGES for example in examples_on(page) if example.kind == kind]


def pages_with(kind: str) -> list[str]:
    return sorted({name_of(example.page) for example in examples(kind)})


def write_files(name: str, folder: Path) -> None:
    """Write the files of a page's project."""
    for example in examples_on(ROOT / name):
        if example.file:
            path = folder / example.file
            path.parent.mkdir(exist_ok=True)
            path.write_text(example.text)


def run_page(name: str, kind: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a page's examples of one kind, and return the names that they define."""
    return run((example for example in examples_on(ROOT / name) if example.kind == kind), names)


def run(chosen: Iterable[Example], names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run Python examples with shared names, and return these names. A session must print the output that it shows."""
    names = {} if names is None else names
    for example in chosen:
        if example.language == "pycon":
            _run_session(example, names)
        else:
            # Empty lines in front make a traceback's line numbers those of the page.
            code = compile("\n" * example.line + example.text, example.page, "exec", dont_inherit=True)
            exec(code, names)  # noqa: S102 (running our own documentation is what this is for)
    return names


def _run_session(example: Example, names: dict[str, Any]) -> None:
    session = doctest.DocTestParser().get_doctest(example.text, names, str(example), str(example.page), example.line)
    output: list[str] = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(session, out=output.append, clear_globs=False)
    # The session ran with a copy of the names.
    names.update(session.globs)
    assert not failed, "".join(output)

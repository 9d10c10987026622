"""Writes what was measured into the documentation: a section of a page, and the same as JSON.

A section of the page lies between ``<!-- bench: NAME -->`` and ``<!-- end of bench: NAME -->``. What is around the
sections is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Results = dict[str, Any]
"""What was measured, as JSON."""

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
DATA = DOCS / "performance.json"


def replace_section(page: str, name: str, text: str) -> str:
    """Return the page with another text in one section; ``ValueError`` if it has no such section."""
    opening, closing = f"<!-- bench: {name} -->\n", f"<!-- end of bench: {name} -->"
    before, opened, rest = page.partition(opening)
    _, closed, after = rest.partition(closing)
    if not opened or not closed:
        raise ValueError(f"the page has no section between {opening.strip()} and {closing}")
    return f"{before}{opening}\n{text}\n\n{closing}{after}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, numbers to the right."""
    lines = [heads, ["---"] * 2 + ["--:"] * (len(heads) - 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def known() -> dict[str, dict[str, Results]]:
    """Return all results that are kept, by the names of the workloads and of the databases."""
    found: dict[str, dict[str, Results]] = json.loads(DATA.read_text()) if DATA.exists() else {}
    return found


def show(name: str, text: str) -> None:
    """Put a section's text into the page."""
    PAGE.write_text(replace_section(PAGE.read_text(), name, text))


def write(name: str, text: str, results: Mapping[str, Any]) -> None:
    """Put a section's text into the page, and its results into the JSON beside it."""
    show(name, text)
    # Not sorted: sizes go up, and tables come before their indexes.
    DATA.write_text(json.dumps({**known(), name: results}, indent=2) + "\n")

"""Sections of docs/performance.md, and the results behind them in docs/performance.json.

A section lies between ``<!-- bench: NAME -->`` and ``<!-- end of bench: NAME -->``. The text around the sections is
written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.site import machine

Results = dict[str, Any]
"""Results of one workload on one database, as JSON."""

Known = Mapping[str, Mapping[str, Results]]
"""All stored results, by workload and database."""

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "performance.md"
DATA = DOCS / "performance.json"


def replace_section(page: str, name: str, text: str) -> str:
    """Return the page with a new text in one section; raises ``ValueError`` if the page lacks that section."""
    opening, closing = f"<!-- bench: {name} -->\n", f"<!-- end of bench: {name} -->"
    before, opened, rest = page.partition(opening)
    _, closed, after = rest.partition(closing)
    if not opened or not closed:
        raise ValueError(f"the page has no section between {opening.strip()} and {closing}")
    return f"{before}{opening}\n{text}\n\n{closing}{after}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown. The first two columns are text, the others are aligned as numbers."""
    lines = [heads, ["---"] * 2 + ["--:"] * (len(heads) - 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine_of(results: Mapping[str, Results]) -> str:
    """Return the description of the machine. All databases of one workload are measured on the same one."""
    return str(next(iter(results.values()))["machine"])


def kind_of_runs(known: Known) -> str:
    """Return a sentence that names the workloads whose figures come from a quick run."""
    quick = [name for name in known if any(_is_quick(of) for of in known[name].values())]
    if not quick:
        return "All figures come from full runs."
    return (
        f"The figures of {', '.join(sorted(quick))} come from a **quick run**: its repetitions are too few for a"
        " comparison, and it leaves out the largest tables."
    )


def _is_quick(of: Results) -> bool:
    return machine.is_of_quick_run(of.get("machine", ""))


def known() -> dict[str, dict[str, Results]]:
    """Return all stored results."""
    found: dict[str, dict[str, Results]] = json.loads(DATA.read_text()) if DATA.exists() else {}
    return found


def store(name: str, results: Mapping[str, Any]) -> None:
    """Store the results of a workload, in place of its earlier ones."""
    # Keys stay in their order: sizes rise, and a table precedes its indexes.
    DATA.write_text(json.dumps({**known(), name: results}, indent=2) + "\n")

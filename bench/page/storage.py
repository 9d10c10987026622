"""The section about the bytes of rows and updates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.contenders import ALL, OURS, REFERENCE
from bench.page.report import Results, machine_of, table
from bench.site.scale import BLOCKS

ROW_HEADS = ("database", "contender", "text", "table", "indexes", "all beyond the text", "history entry")
UPDATE_HEADS = ("database", "contender", "updates in place (heap-only)", "WAL bytes a block")


def section(results: Mapping[str, Results]) -> str:
    """Return the bytes of rows, the same by index, and the bytes of updates where the database counts them."""
    weights = [row for database, of in results.items() for row in _weight_rows(database, of)]
    parts = [row for database, of in results.items() for row in _part_rows(database, of)]
    updates = [row for database, of in results.items() for row in _update_rows(database, of)]
    texts = [
        machine_of(results),
        "Bytes of a row in the state table, including its share of partly empty pages:",
        table(ROW_HEADS, weights),
        "The same by table and index:",
        table(("database", "table or index", "bytes a row"), parts),
    ]
    if updates:
        texts += [f"Updates of {BLOCKS} blocks in the steady state:", table(UPDATE_HEADS, updates)]
    return "\n\n".join(texts)


def bytes_of_entry(of: Results, name: str) -> float:
    """Return the bytes of one history entry of a contender, in the table and all its indexes."""
    return float(sum(of["weights"][name]["history"].values()))


def _weight_rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for name in ALL:
        if name in of["weights"]:
            one = of["weights"][name]
            table_bytes, *indexes = one["state"].values()
            total = table_bytes + sum(indexes)
            figures = (one["text"], table_bytes, sum(indexes), total - one["text"], bytes_of_entry(of, name))
            yield database, name, *(f"{figure:,.0f}" for figure in figures)


def _part_rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for one in (of["weights"][name] for name in (OURS, REFERENCE)):
        for part, size in {**one["state"], **one["history"]}.items():
            yield database, f"`{part}`", f"{size:,.0f}"


def _update_rows(database: str, of: Results) -> Iterator[Sequence[str]]:
    for name in ALL:
        if name in of["updates"]:
            one = of["updates"][name]
            yield database, name, f"{one['in_place']:.1%}", f"{one['wal']:,.0f}"

"""The section about the bytes of the history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.page.report import Results, table

STORED_AS = {
    "delta": "deltas",
    "packed": "deltas, after packing",
    "plain": "full copies",
    "old": "full copies in the old table",
    "uncompressed": "the same, uncompressed",
}
HEADS = ("database", "stored as", "table", "indexes", "bytes an entry", "÷ deltas", "÷ after packing")


def section(results: Mapping[str, Results]) -> str:
    """Return a table for each problem."""
    return "\n\n".join(_subsection(problem, results) for problem in next(iter(results.values())))


def bytes_an_entry(measured: Results) -> float:
    """Return the bytes of an entry in the table and all its indexes."""
    return float(total(measured) / measured["entries"])


def _subsection(problem: str, results: Mapping[str, Results]) -> str:
    rows = [row for database, of in results.items() for row in _rows(database, of[problem])]
    return f"**{problem}**: {_average_text(next(iter(results.values()))[problem]['plain'])}\n\n{table(HEADS, rows)}"


def _average_text(full_copies: Results) -> str:
    entries = full_copies["entries"]
    return (
        f"{entries:,} entries; the JSON text of an entry has {full_copies['states'] / entries:,.0f} bytes on average."
    )


def _rows(database: str, measured: Results) -> Iterator[tuple[str, ...]]:
    for stored_as in sorted(measured, key=[*STORED_AS].index):
        one = measured[stored_as]
        yield (
            database,
            STORED_AS[stored_as],
            _megabytes(one["table"]),
            _megabytes(one["indexes"]),
            f"{bytes_an_entry(one):,.0f}",
            *(_times(one, measured.get(name)) for name in ("delta", "packed")),
        )


def _times(one: Results, ours: Results | None) -> str:
    return f"{total(one) / total(ours):.1f}" if ours else "–"


def total(measured: Results) -> int:
    """Return the bytes of the table and all its indexes."""
    return int(measured["table"] + measured["indexes"])


def _megabytes(number: int) -> str:
    return f"{number / 1e6:,.1f} MB"

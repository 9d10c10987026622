"""Reads and writes the golden SQL: one annotated file per database with the statements of each operation.

A file is plain SQL. A line ``-- === name`` begins an operation; blank lines separate its statements; lines that begin
with ``--`` are notes. Layout and notes are free: statements are compared without them. An operation that sends the
statements of an earlier one has a line ``-- Same as: name`` instead of statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path

from tests.sql_layout import laid_out

FOLDER = Path(__file__).parent / "integration" / "golden"

_HEADING = re.compile(r"^-- === (.+)$", re.MULTILINE)
_SAME_AS = re.compile(r"^-- Same as: (.+)$", re.MULTILINE)
_CONTROL = re.compile(r"(BEGIN|COMMIT|SAVEPOINT|RELEASE)\b")


class GoldenFile:
    """The statements of one database, by operation."""

    def __init__(self, vendor: str) -> None:
        self._path = FOLDER / f"{vendor}.sql"
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        self._preamble, *parts = _HEADING.split(text)
        self._paragraphs = {
            name: [each.strip("\n") for each in re.split(r"\n\s*\n", body) if each.strip()]
            for name, body in zip(parts[::2], parts[1::2], strict=True)
        }

    @property
    def operations(self) -> list[str]:
        """Names of the operations, in the order of the file."""
        return list(self._paragraphs)

    def statements(self, operation: str) -> list[str]:
        """Return the statements of an operation, without notes and layout."""
        paragraphs = self._paragraphs.get(operation, [])
        reference = _SAME_AS.search("\n".join(paragraphs))
        if reference:
            return self.statements(reference[1])
        return [sql for each in paragraphs if (sql := plain(each))]

    def without_note(self) -> Iterator[str]:
        """Yield the statements that no note explains. Transaction control needs none."""
        for paragraphs in self._paragraphs.values():
            for each in paragraphs:
                if plain(each) and not _CONTROL.match(plain(each)) and not each.startswith("--"):
                    yield plain(each)

    def replace(self, operation: str, statements: Sequence[str], order: Sequence[str]) -> None:
        """Write the statements of an operation into the file. Notes stay; the operations come in the given order."""
        if self.statements(operation) != list(statements):
            self._paragraphs[operation] = self._merged(operation, statements, order)
        ordered = [(name, self._paragraphs[name]) for name in order if name in self._paragraphs]
        sections = ["\n\n".join([f"-- === {name}\n{body[0]}", *body[1:]]) for name, body in ordered]
        self._path.write_text("\n\n".join([self._preamble.strip("\n"), *sections]) + "\n", encoding="utf-8")

    def _merged(self, operation: str, statements: Sequence[str], order: Sequence[str]) -> list[str]:
        old = self._paragraphs.get(operation, [])
        notes = [each for each in old if not plain(each) and not _SAME_AS.search(each)]
        earlier = order[: order.index(operation)]
        same = next((name for name in earlier if self.statements(name) == list(statements)), None)
        if same is not None:
            return [*notes, f"-- Same as: {same}"]
        return [*notes, *_replaced([each for each in old if plain(each)], statements)]


def plain(text: str) -> str:
    """Return a statement without notes and layout."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    one_line = " ".join(" ".join(lines).split()).removesuffix(";")
    return one_line.replace("( ", "(").replace(" )", ")")


def _replaced(paragraphs: Sequence[str], statements: Sequence[str]) -> Iterator[str]:
    """Yield a paragraph for each statement: the old one if unchanged, otherwise its notes with the new statement."""
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, [*map(plain, paragraphs)], statements).get_opcodes():
        if tag == "equal":
            yield from paragraphs[i1:i2]
            continue
        for before, statement in zip_longest(paragraphs[i1:i2], statements[j1:j2]):
            if statement is not None:
                notes = [line for line in (before or "").splitlines() if line.lstrip().startswith("--")]
                yield "\n".join([*notes, *laid_out(f"{statement};")])

"""Docstrings and comments are plain English: nouns in place of "what", and first lines that name the thing."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation import ROOT

TREES = ("src", "demo", "bench", "scripts", "tests")
MOST_WHATS_IN_A_THOUSAND_WORDS = 1
QUESTION = re.compile(r"(What|Who|Where|How|Whether|Why)\b")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def files_of(tree: str) -> list[Path]:
    files = [file for file in sorted((ROOT / tree).rglob("*.py")) if "migrations" not in file.parts]
    assert files
    return files


def docstrings_of(file: Path) -> Iterator[tuple[int, str]]:
    """Yield each docstring with its line; also the strings that document a constant or an attribute."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, DOCUMENTED):
            for statement in node.body:
                value = statement.value if isinstance(statement, ast.Expr) else None
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.lineno, value.value


def comments_of(file: Path) -> Iterator[str]:
    with file.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type == tokenize.COMMENT:
                yield token.string


def whats_in_a_thousand_words(files: list[Path]) -> float:
    texts = [text for file in files for _, text in docstrings_of(file)]
    texts += [text for file in files for text in comments_of(file)]
    words = [word.lower() for text in texts for word in re.findall(r"[A-Za-z']+", text)]
    return 1000 * words.count("what") / max(1, len(words))


@pytest.mark.parametrize("tree", TREES)
def test_no_docstring_begins_with_a_question_word(tree: str) -> None:
    questions = [
        f"{file.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for file in files_of(tree)
        for line, text in docstrings_of(file)
        if QUESTION.match(text.strip())
    ]
    assert questions == []


@pytest.mark.parametrize("tree", TREES)
def test_the_word_what_is_rare(tree: str) -> None:
    assert whats_in_a_thousand_words(files_of(tree)) <= MOST_WHATS_IN_A_THOUSAND_WORDS


def test_the_measures_find_such_words(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        '"""Whether it is.\n\nAnd what."""\nX = 1\n"""What X is."""\n# What for\ndef f():\n    """Return."""\n'
    )
    found = [text for _, text in docstrings_of(file)]
    assert [bool(QUESTION.match(text)) for text in found] == [True, True, False]
    assert whats_in_a_thousand_words([file]) == 1000 * 3 / 11

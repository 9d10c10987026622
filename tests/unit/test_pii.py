"""Each model declares its personal data in the form that the tools of Open edX read (OEP-30)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.documentation import ROOT

# Read from the source: the app of the extended history is installed only where it has a database.
MODULES = sorted((ROOT / "src/xblock_user_state").rglob("models.py"))


def models_of(file: Path) -> dict[str, str]:
    """Return the docstrings of a module's concrete models by name."""
    classes = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)]
    return {node.name: ast.get_docstring(node) or "" for node in classes if "abstract = True" not in ast.unparse(node)}


MODELS = {name: text for file in MODULES for name, text in models_of(file).items()}
NAME_NO_LEARNER = {"LearningContext", "Block", "UserStateSummary", "ImportedFields", "BlockNumber", "StageDifference"}
GROUP = (r"\.\. pii: \S", r"\.\. pii_types: \S", r"\.\. pii_retirement: \S")


@pytest.mark.parametrize("model", MODELS)
def test_each_model_has_an_annotation(model: str) -> None:
    is_free = re.search(r"\.\. no_pii: \S", MODELS[model]) is not None
    assert [re.search(pattern, MODELS[model]) is not None for pattern in GROUP] == [not is_free] * len(GROUP)


def test_models_that_name_a_learner_keep_personal_data() -> None:
    assert {name for name, text in MODELS.items() if ".. pii:" not in text} == NAME_NO_LEARNER
    assert "StudentModuleHistoryExtended" in MODELS

"""Each model says whether it keeps personal data, in the form that the tools of Open edX read (OEP-30)."""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.db import models

from xblock_user_state.store import models as store

# Models of the history follow.
MODELS = [
    model for model in apps.get_app_config("xblock_user_state").get_models() if model.__module__ == store.__name__
]
GROUP = (r"\.\. pii: \S", r"\.\. pii_types: \S", r"\.\. pii_retirement: \S")


@pytest.mark.parametrize("model", MODELS)
def test_each_model_has_an_annotation(model: type[models.Model]) -> None:
    text = model.__doc__ or ""
    is_free = re.search(r"\.\. no_pii: \S", text) is not None
    assert [re.search(pattern, text) is not None for pattern in GROUP] == [not is_free] * len(GROUP)


def test_models_that_name_a_learner_keep_personal_data() -> None:
    for model in MODELS:
        names_learner = any(field.name == "student" for field in model._meta.concrete_fields)
        assert (".. pii:" in (model.__doc__ or "")) == names_learner

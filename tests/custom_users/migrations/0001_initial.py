"""Tables of all models.

Django leaves the relations of an app without migrations out of its state of the models: a key that is a foreign key
would be an integer to the migrations of others.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations
from django.db.migrations.state import ModelState

from tests.custom_users import models

# A model after the models that it refers to.
_MODELS = (
    models.Record,
    models.RecordOfRecord,
    models.UuidPerson,
    models.TextPerson,
    models.BadgePerson,
    models.ChainedPerson,
    models.UuidChild,
    models.TextChild,
    models.TextGrandchild,
    models.Tutor,
    models.Member,
)


def _creation(model: Any) -> migrations.CreateModel:
    state = ModelState.from_model(model)
    return migrations.CreateModel(state.name, [*state.fields.items()], state.options, state.bases)


class Migration(migrations.Migration):
    initial = True

    operations: ClassVar[list[Any]] = [_creation(model) for model in _MODELS]
